"""What takes long to make for the site, and is kept until the code changes."""

from __future__ import annotations

import hashlib
from pathlib import Path


def kept_in(project: Path) -> Path:
    """Return the folder of the executed notebooks and the drawn pipelines."""
    return project / "data" / ".workspace" / "docs"


def fingerprint(project: Path, *more: Path) -> str:
    """Return a hash of the package, its parameters, and more files."""
    files = [*(project / "src").rglob("*.py"), *(project / "conf").rglob("*.yml"), *more]
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.as_posix().encode() + path.read_bytes())
    return total.hexdigest()[:16]
