"""One line per finished node: how many are done, its time, and the time left if the same work was done before."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

from dg_project.core.files import atomic_file, fingerprint

logger = logging.getLogger(__name__)

_FILE = "node_seconds.json"
_NAME_WIDTH = 28


class ProgressHook:
    """Counts the nodes of a run and remembers how long they took, per machine and set of parameters."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._waiting: list[str] = []
        self._total = 0
        self._times = NodeTimes(None, "")

    @hook_impl
    def before_pipeline_run(self, pipeline: Any, catalog: Any) -> None:
        """Count the nodes, and look up how long they took before."""
        settings = catalog.load("params:settings")
        same = fingerprint(settings.model_dump(mode="json", exclude={"seed"}))  # another seed takes as long
        self._times = NodeTimes(Path(settings.workspace) / _FILE, same)
        self._waiting = [node.name for node in pipeline.nodes]
        self._total = len(self._waiting)

    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Any) -> None:
        """Start the clock."""
        self._started[node.name] = time.monotonic()

    @hook_impl(trylast=True)
    def after_node_run(self, node: Any) -> None:
        """Tell that the node is done; a worker process knows only its own nodes and counts nothing."""
        seconds = time.monotonic() - self._started.pop(node.name)
        self._times.note(node.name, seconds)
        name = node.name.rpartition(".")[2]
        if node.name not in self._waiting:
            logger.info("%s  %s", name, duration(seconds))
            return
        self._waiting.remove(node.name)
        done, left = self._total - len(self._waiting), self._times.of(self._waiting)
        said = f"   about {duration(left)} left" if left else ""
        logger.info("[%*d/%d] %-*s %12s%s", len(str(self._total)), done, self._total, _NAME_WIDTH, name,
                    duration(seconds), said)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Remember the times for the next run."""
        self._times.save()


class NodeTimes:
    """The longest time that each node took with one set of parameters; later runs may find their work done.

    Args:
        path: file that holds the times of all sets; None keeps nothing.
        key: the set of parameters.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self._path, self._key = path, key
        self._known: dict[str, float] = self._read().get(key, {})
        self._own: dict[str, float] = {}

    def note(self, name: str, seconds: float) -> None:
        """Take note of a finished node."""
        self._own[name] = max(seconds, self._known.get(name, 0.0))

    def of(self, names: list[str]) -> float:
        """Return the seconds that all these nodes will take; 0 if one of them was never run with these parameters."""
        known = [self._known.get(name) for name in names]
        return sum(filter(None, known)) if None not in known else 0.0

    def save(self) -> None:
        """Write the times, next to those of other sets of parameters."""
        if self._path is None:
            return
        known = self._read()
        known[self._key] = known.get(self._key, {}) | {name: round(value, 1) for name, value in self._own.items()}
        with atomic_file(self._path) as aside:
            aside.write_text(json.dumps(known))

    def _read(self) -> dict[str, dict[str, float]]:
        try:
            return dict(json.loads(self._path.read_text())) if self._path else {}
        except (OSError, ValueError):  # none yet, or broken: times are only told
            return {}


def duration(seconds: float) -> str:
    """Return a time as people say it.

    >>> duration(0.4), duration(223), duration(7265)
    ('0 s', '3 min 43 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
