"""Provenance of records: commit, hardware and library versions."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "diffusers", "kedro", "mlflow")
STATED = "DG_PROJECT_COMMIT"
"""Environment variable with the commit, for copies of the code without git history."""


def commit(root: Path) -> str:
    """Return the commit of ``root``, or ``""`` if unknown; the variable STATED takes precedence."""
    return os.environ.get(STATED) or _git(root, "rev-parse", "HEAD")


def is_dirty(root: Path) -> bool:
    """Return whether tracked files differ from the commit or untracked files exist; False if STATED is set."""
    return not os.environ.get(STATED) and bool(_git(root, "status", "--porcelain"))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed numeric libraries."""
    found = {"Python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def hardware(device: str) -> str:
    """Return the accelerator, if any, and the processor with its usable cores.

    Args:
        device: name of a torch device.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = f"{_processor()}, {cores} core{'' if cores == 1 else 's'}"
    if not device.startswith("cuda"):
        return processor
    import torch

    return f"{torch.cuda.get_device_name(device)}; {processor}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True,
                              timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
