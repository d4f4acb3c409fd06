"""Small copies of the project, one before every stage, and what an undisturbed stage makes of it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from ldm_fixture import build_instruct
from PIL import Image
from processes import Ended, fork
from safetensors import safe_open
from streets_fixture import build_tiny_streets

PROJECT = Path(__file__).parents[2]
VARYING = ("seconds", "ldm_seconds", "seconds_per_step", "peak_memory_mb", "inference_ms", "kedro_version_id")
"""Columns that differ from run to run."""
MADE = "data/smoke"
"""Where ``--env=smoke`` keeps what it makes; what it only reads lies in ``data``."""
WORKSPACE = f"{MADE}/.workspace"


@dataclass(frozen=True)
class Stage:
    """A part of a pipeline.

    Attributes:
        pipeline: name of the pipeline.
        namespaces: its parts, () for all.
        outputs: artifacts that must be bit-equal.
        tortured: whether trials disturb it; other stages only prepare.
        parameters: changes of the smoke parameters.
    """

    pipeline: str
    outputs: tuple[str, ...]
    namespaces: tuple[str, ...] = ()
    tortured: bool = True
    parameters: dict[str, Any] = field(default_factory=dict)


STAGES = {
    "ingestion": Stage("ingestion", ("source_manifest", "target_manifest"), tortured=False),
    "synthesis": Stage("synthesis", ("candidate_images", "candidate_manifest")),
    "sampling": Stage("sampling", ("pseudo_images", "pseudo_manifest")),
    "training": Stage("training", ("model", "baseline_model", "naive_model", "history")),
    "evaluation": Stage("evaluation", ("model_predictions", "results")),
    "export": Stage("export", ("export",), parameters={"export": {"parity_images": 1}}),
    "adapt": Stage("benchmark", ("adapt_manifest",), ("ingestion",), tortured=False),
    "grid": Stage("benchmark", ("benchmark_models", "benchmark_records"), ("benchmark",)),
}


class Projects:
    """Prepared projects below a folder.

    Args:
        folder: for everything that is prepared; a second run finds it again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Run every stage once, undisturbed; keep the project as it was before each, and a digest of what it made."""
        root = self.folder / "whole"
        if not (self.folder / "done.json").is_file():
            shutil.rmtree(root, ignore_errors=True)
            _build(root)
        done = self._facts
        for name in STAGES:
            if name in done:
                continue
            before = self.folder / "before" / name
            shutil.rmtree(before, ignore_errors=True)
            shutil.copytree(root, before, symlinks=True)
            ended = run(root, name, self.folder / "logs" / f"{name}.log")
            if ended.status:
                raise RuntimeError(f"the undisturbed stage '{name}' ended with {ended.status}: {ended.lines}")
            done[name] = {"cpu": ended.cpu, "digest": digest(root, name),
                          "bytes": size_of(root / "data") - size_of(before / "data")}
            (self.folder / "done.json").write_text(json.dumps(done, indent=1))

    @property
    def _facts(self) -> dict[str, dict[str, Any]]:
        path = self.folder / "done.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def cpu(self, name: str) -> float:
        """CPU seconds of an undisturbed stage."""
        return float(self._facts[name]["cpu"])

    def written(self, name: str) -> int:
        """Bytes that an undisturbed stage writes."""
        return int(self._facts[name]["bytes"])

    def same(self, root: Path, name: str) -> bool:
        """Whether a disturbed project has the outputs of the undisturbed one."""
        return digest(root, name) == self._facts[name]["digest"]

    def copy(self, name: str, number: int) -> Path:
        """Return a fresh copy of the project as it was before a stage."""
        target = self.folder / "trials" / f"{name}_{number}"
        shutil.rmtree(target, ignore_errors=True)
        return shutil.copytree(self.folder / "before" / name, target, symlinks=True)


def _build(root: Path) -> None:
    from mlflow import MlflowClient

    shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    build_tiny_streets(root / "data" / "01_raw" / "streets")
    build_instruct(root / "data" / "06_models" / "tiny_ldm")
    fork(lambda: MlflowClient(f"sqlite:///{root / 'mlflow.db'}").search_experiments(), root / "mlflow.log").wait()


def run(root: Path, name: str, log: Path) -> Ended:
    """Run a stage in a child to its end."""
    return fork(lambda: work(root, name), log).wait()


def work(root: Path, name: str) -> None:
    """Run a stage in this process, as ``kedro run --env=smoke`` does."""
    from kedro.framework.project import pipelines
    from kedro.framework.session import KedroSession

    stage = STAGES[name]
    os.chdir(root)
    pipelines.configure("dg_project.pipeline_registry")
    with KedroSession.create(root, env="smoke", runtime_params=dict(stage.parameters)) as session:
        session.run(pipeline_names=[stage.pipeline], namespaces=list(stage.namespaces) or None)


def newest(root: Path, artifact: str) -> Path:
    """Return the newest version of an artifact."""
    found = [path for folder in root.glob(f"{MADE}/0*") for path in folder.glob(f"{artifact}*/*/{artifact}*")
             if path.stem == artifact]
    return max(found, key=lambda path: path.parent.name)


def digest(root: Path, name: str) -> str:
    """Return a hash of everything that must not depend on interruptions."""
    total = hashlib.sha256()
    for artifact in STAGES[name].outputs:
        for path in files_of(newest(root, artifact)):
            total.update(path.name.encode() + _content(path))
    return total.hexdigest()


def files_of(path: Path) -> list[Path]:
    """Return a file, or the files of a folder, sorted."""
    return [path] if path.is_file() else sorted(below for below in path.rglob("*") if below.is_file())


def _content(path: Path) -> bytes:
    if path.suffix in (".parquet", ".csv"):
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        kept = [column for column in table if column not in VARYING]
        return table[kept].to_json(orient="split", default_handler=str).encode()
    # Cards state seconds.
    return path.read_bytes() if path.suffix in (".png", ".safetensors", ".onnx") else b""


def half_written(root: Path) -> list[str]:
    """Return the files under final names, in the catalog and the workspace, that cannot be opened."""
    bad = []
    for folder in (*root.glob(f"{MADE}/0[2-8]*"), root / WORKSPACE):
        for path in folder.rglob("*") if folder.is_dir() else ():
            hidden = any(part.startswith((".tmp", ".")) for part in path.relative_to(folder).parts)
            if path.is_file() and not hidden and not _opens(path):
                bad.append(path.relative_to(root).as_posix())
    return bad


def _opens(path: Path) -> bool:
    try:
        if path.suffix == ".parquet":
            pd.read_parquet(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".safetensors":
            with safe_open(path, "numpy") as file:
                list(file.keys())
        return path.stat().st_size > 0 or path.suffix in (".lock", "")
    except Exception:
        return False


def left_over(root: Path) -> int:
    """Return the bytes of temporary files that were never renamed."""
    return sum(path.stat().st_size for path in (root / "data").rglob("*") if path.is_file()
               and any(part.startswith(".tmp-") for part in path.relative_to(root).parts))


def held_locks(root: Path) -> Iterator[str]:
    """Yield the locks of the workspace that a process still holds."""
    for lock in (root / WORKSPACE).rglob(".lock"):
        with lock.open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield lock.parent.name


def mlflow_states(root: Path) -> list[str]:
    """Return the states of the project's MLflow runs, oldest first."""
    with sqlite3.connect(f"file:{root / 'mlflow.db'}?mode=ro", uri=True) as store:
        return [state for state, in store.execute("select status from runs order by start_time")]


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
