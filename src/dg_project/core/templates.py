"""Open the jinja templates that are shipped next to the code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def open_template(package: str, name: str, *, filters: Mapping[str, Callable[..., Any]] | None = None,
                  **options: Any) -> Template:
    """Return a template; an undefined variable raises.

    Args:
        package: dotted name of the package that contains the template.
        name: file name.
        filters: further filters by name.
        options: of ``jinja2.Environment``; Markdown needs no ``autoescape``, HTML does. Block tags leave no blank line
            unless ``trim_blocks`` and ``lstrip_blocks`` are set to False.
    """
    environment = Environment(loader=PackageLoader(package, "."), undefined=StrictUndefined,
                              **{"trim_blocks": True, "lstrip_blocks": True, **options})
    environment.filters |= dict(filters or {})
    return environment.get_template(name)
