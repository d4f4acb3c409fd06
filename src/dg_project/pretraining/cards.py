"""Templates of the model cards."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def card_template(package: str) -> Template:
    """Return the template ``card.md.j2`` of a package; undefined names raise an error."""
    return Environment(loader=PackageLoader(package, "."), undefined=StrictUndefined).get_template("card.md.j2")
