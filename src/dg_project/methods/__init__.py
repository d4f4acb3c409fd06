"""Methods of domain generalisation, found by searching this package for subclasses of ``Method``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from dg_project.core.errors import ParameterError, nearest
from dg_project.methods.base import Method

__all__ = ["Method", "method_class", "method_classes"]


@cache
def method_classes() -> dict[str, type[Method]]:
    """Return every method by name: each concrete subclass of ``Method`` defined in a module of this package."""
    found = {}
    for info in pkgutil.walk_packages(__path__, f"{__name__}."):
        module = importlib.import_module(info.name)
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Method) and not inspect.isabstract(member) and member.__module__ == module.__name__:
                found[member.name] = member
    return dict(sorted(found.items()))


def method_class(name: str) -> type[Method]:
    """Return the class of a method.

    Raises:
        ParameterError: there is no method with that name.
    """
    classes = method_classes()
    if name not in classes:
        raise ParameterError(f"unknown method '{name}'.{nearest(name, classes)}")
    return classes[name]
