"""Device choice, CPU threads, peak memory, seeds and deterministic algorithms."""

from __future__ import annotations

import os
import platform
import random
import resource
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from torch.utils import deterministic as debugging

from dg_project.core.errors import ParameterError


def resolve_device(name: str) -> torch.device:
    """Return the device for ``auto | cpu | cuda | cuda:<n> | mps`` on this machine.

    Raises:
        ParameterError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ParameterError(f"training.device: '{name}' is not a device; use auto, cpu, cuda, cuda:<n> or "
                             "mps") from error
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= here.get(device.type, 0):
        raise ParameterError(f"training.device: '{name}' is not on this machine; use auto or cpu")
    return device


def check_compiler(device: torch.device) -> None:
    """Raise ``ParameterError`` if ``torch.compile`` has no C++ compiler for a CPU."""
    compilers = [name for name in (os.environ.get("CXX"), "g++", "clang++") if name]
    if device.type == "cpu" and not any(shutil.which(name) for name in compilers):
        raise ParameterError("training.compile needs a C++ compiler, and there is no g++ or clang++ here: install one, "
                             "name it with the environment variable CXX, or set training.compile=false")


def use_threads(threads: int | None) -> None:
    """Set the number of CPU threads of torch; None keeps torch's default."""
    if threads is not None:
        torch.set_num_threads(threads)


def reset_peak_memory(device: torch.device) -> None:
    """Reset the counter of ``peak_memory_mb``, where the system supports it (Linux, CUDA)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory in MB since ``reset_peak_memory``: tensors on a CUDA device, otherwise the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def seed_step(seed: int, step: int, part: int = 0, phase: int = 0) -> None:
    """Seed Python, NumPy and torch (all devices) for one micro-batch of one phase of a step.

    All random draws are a function of ``(seed, step, part, phase)``, so no generator state needs to be stored.
    """
    address = [seed, step, part] if phase == 0 else [seed, step, part, phase]
    state = np.random.SeedSequence(address).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]))


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Turn torch's deterministic algorithms on (where available) or off; restore the old setting afterwards."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = debugging.fill_uninitialized_memory  # type: ignore[attr-defined]  # the module is replaced at import
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    # Filling every new tensor with NaN finds kernel bugs, but costs a pass through memory.
    debugging.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        debugging.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
