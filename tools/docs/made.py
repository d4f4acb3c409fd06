"""What takes long to make for the site, and is kept until the code changes."""

from __future__ import annotations

from pathlib import Path

from dg_project.core import files


def kept_in(project: Path) -> Path:
    """Return the folder of the executed notebooks and the drawn pipelines."""
    return project / "data" / ".workspace" / "docs"


def fingerprint(project: Path, *more: Path) -> str:
    """Return a hash of the package, its parameters, and more files."""
    seen = sorted([*(project / "src").rglob("*.py"), *(project / "conf").rglob("*.yml"), *more])
    return files.fingerprint([(path.relative_to(project).as_posix(), files.file_hash(path)) for path in seen])
