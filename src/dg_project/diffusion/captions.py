"""Captions and prompts with the names of folders in them.

``{domain}`` and ``{class}`` are filled in for training captions, ``{source}`` for the prompts of a fold, and
``{class}`` in a prompt for each image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dg_project.core.errors import DataError

DOMAIN, CLASS, SOURCE, HELD_OUT = "{domain}", "{class}", "{source}", "{held_out}"


def fill(template: str, **names: str) -> str:
    """Return a template with the names of folders as words; "a" before a vowel becomes "an".

    >>> fill("a {domain} of a {class}", domain="art_painting", **{"class": "elephant"})
    'an art painting of an elephant'
    """
    for key, name in names.items():
        template = template.replace(f"{{{key}}}", words(name))
    return re.sub(r"\ba (?=[aeiou])", "an ", template)


def caption(template: str, domain: str, name: str) -> str:
    """Return the caption of an image of a domain and a class."""
    return fill(template, domain=domain, **{"class": name})


def words(name: str) -> str:
    """Return the name of a folder as words, in lower case as the text encoder reads them."""
    return " ".join(re.sub(r"[_\-.]+", " ", name).lower().split())


def check_distinct(template: str, domains: Iterable[str], classes: Sequence[str]) -> None:
    """Check that no two folders get the same caption.

    Raises:
        DataError: two folders do.
    """
    known: dict[str, str] = {}
    for domain in domains:
        for name in classes:
            folder, text = f"{domain}/{name}", caption(template, domain, name)
            if (other := known.setdefault(text, folder)) != folder:
                raise DataError(f"the folders '{other}' and '{folder}' have the same caption '{text}', so the model "
                                "could not tell them apart: rename one of them")


def every(templates: Iterable[str], domains: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return all captions, sorted."""
    return sorted({caption(template, domain, name) for template in templates for domain in domains for name in classes})
