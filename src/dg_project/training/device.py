"""Where tensors live, chosen once."""

from __future__ import annotations

import platform
import resource
from contextlib import suppress
from pathlib import Path

import torch

from dg_project.errors import ParameterError


def resolve_device(name: str) -> torch.device:
    """Return the device that ``auto | cpu | cuda | cuda:<n> | mps`` means on this machine.

    Raises:
        ParameterError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ParameterError(f"training.device: '{name}' is no device; use auto, cpu, cuda, cuda:<n> or mps") from error
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= here.get(device.type, 0):
        raise ParameterError(f"training.device: '{name}' is not on this machine; use auto or cpu")
    return device


def use_threads(threads: int | None) -> None:
    """Let torch compute with this many CPU threads; None keeps its own choice."""
    if threads is not None:
        torch.set_num_threads(threads)


def forget_peak_memory(device: torch.device) -> None:
    """Let ``peak_memory_mb`` count from now on, where the system can (Linux, CUDA)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Return the largest memory in MB since ``forget_peak_memory``: of the device's tensors, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
