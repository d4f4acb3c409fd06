"""What the C library does with freed memory."""

from __future__ import annotations

import ctypes
import os

CHOSEN = {"GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_"}
"""Environment variables by which a user chooses."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of the options in glibc's malloc.h."""
LARGEST = 2**30


def keep_freed_memory() -> None:
    """Keep freed memory for the next allocation, where the C library is glibc and the user did not choose.

    By default glibc returns the large tensors of a training step to the system, which has to clear every page again in
    the next step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and not CHOSEN & os.environ.keys():
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, 2 * LARGEST - 1)
