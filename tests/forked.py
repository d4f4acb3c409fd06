"""Processes that start with torch in memory: importing it again takes longer than most tests."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any


def start(target: Callable[..., Any], *args: Any) -> BaseProcess:
    """Call a function in a child process. The child computes in one thread: those of OpenMP are lost in a fork."""
    import torch

    def run() -> None:
        torch.set_num_threads(1)
        target(*args)

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    return process


def forget(*packages: str) -> None:
    """Take packages out of this process, as if they had never been imported; for a child process."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]
