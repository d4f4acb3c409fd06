"""One rule for flags such as ``iscrowd`` and ``difficult``, which tools write as numbers, words or text."""

from __future__ import annotations

from typing import Any

_VALUES = {**dict.fromkeys(("1", "1.0", "true", "yes"), True),
           **dict.fromkeys(("", "0", "0.0", "false", "no", "none", "null"), False)}


def flag(value: Any) -> bool:
    """Return the truth of a stored flag; a missing one is False.

    >>> flag("0"), flag(1), flag("True"), flag(None)
    (False, True, True, False)

    Raises:
        ValueError: the value is no flag.
    """
    known = _VALUES.get(str(value).strip().lower())
    if known is None:
        raise ValueError(f"{value!r} is no flag, such as 0, 1, false or true")
    return known
