"""Fork one child per trial from a process that has imported everything, and let fate strike it."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

LONGEST = 1800.0
"""Seconds after which a child is taken for hanging."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_USER, _NEW_MOUNTS, _PRIVATE = 0x10000000, 0x00020000, 1 << 18 | 1 << 14
_REMOUNT = 32


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        status: exit status, or minus the number of the signal that killed it.
        log: what it printed.
        cpu: CPU seconds that it used.
    """

    status: int
    log: str
    cpu: float

    @property
    def lines(self) -> list[str]:
        """The last lines of the log that are not empty; after a crash, where Python was."""
        lines = [line for line in self.log.splitlines() if line.strip()]
        crash = next((k for k, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
        return lines[-3:] if crash is None else [" | ".join(line.strip() for line in lines[crash:crash + 6])]


@dataclass
class Child:
    """A running child."""

    pid: int
    log: Path
    cpu: float = 0.0

    def strike(self, number: int, after: float) -> None:
        """Send a signal when the child has used ``after`` CPU seconds, wherever that is; not if it ended before."""
        while self.poll() is None and self.cpu < after:
            time.sleep(0.01)
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return None while the child runs."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return 0
            used = process.cpu_times()
            self.cpu = used.user + used.system
        except psutil.NoSuchProcess:
            return 0
        return None

    def wait(self) -> Ended:
        """Wait for the end; a child that hangs is killed and counts as killed by SIGALRM."""
        start = time.monotonic()
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                return Ended(os.waitstatus_to_exitcode(status), self.log.read_text(errors="replace"),
                             usage.ru_utime + usage.ru_stime)
            if time.monotonic() - start > LONGEST:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                return Ended(-signal.SIGALRM, self.log.read_text(errors="replace"), LONGEST)
            time.sleep(0.02)


def fork(work: Callable[[], object], log: Path) -> Child:
    """Run ``work`` in a child that ends as a command does: errors are printed by ``sys.excepthook``, status 1."""
    log.parent.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid:
        return Child(pid, log)
    status = 1
    try:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        faulthandler.enable(out)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = _run(work)
    finally:
        os._exit(status)


def _run(work: Callable[[], object]) -> int:
    import atexit

    try:
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def mount_small_disk(folder: Path, size: int) -> None:
    """Mount a file system of ``size`` bytes in memory over a folder, visible to this process and its children alone."""
    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(_NEW_USER | _NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "this kernel allows no private mounts")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount(b"none", b"/", None, _PRIVATE, None)
    _mount(b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={size}".encode())


def resize_disk(folder: Path, size: int) -> None:
    """Give the mounted file system another size."""
    _mount(b"tmpfs", bytes(folder), b"tmpfs", _REMOUNT, f"size={size}".encode())


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None) -> None:
    if _LIBC.mount(source, target, kind, flags, data):
        raise OSError(ctypes.get_errno(), f"mount failed at {target.decode()}")
