"""The versions that a run reads while other runs write newer ones, and the command that repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, Version
from kedro.pipeline import Node, Pipeline

from dg_project.datasets.tables import JSONDataset
from dg_project.hooks.run_context import _command, pin_read, pin_written


def dataset(path: Path, save: str | None = None, load: str | None = None) -> JSONDataset:
    return JSONDataset(filepath=str(path), version=Version(load, save))


def test_pinned_versions(tmp_path: Path) -> None:
    read, written, chosen = (tmp_path / f"{name}.json" for name in ("read", "written", "chosen"))
    for version in ("1", "2"):
        dataset(read, version).save(version)
        dataset(chosen, version).save(version)
    catalog = DataCatalog({"read": dataset(read, "3"), "chosen": dataset(chosen, "3", load="1"),
                           "written": dataset(written, "3")})
    pipeline = Pipeline([Node(max, ["read", "chosen"], "written", name="newest")])
    pin_read(pipeline, catalog)
    pin_written(pipeline, catalog)
    catalog.save("written", "3")
    for path in (read, written, chosen):
        dataset(path, "9").save("of another run")
    assert {name: catalog.load(name) for name in ("read", "written", "chosen")} == {
        "read": "2", "written": "3", "chosen": "1"}


@pytest.mark.parametrize(("given", "command"), [
    ({}, "kedro run"),
    ({"pipeline_names": ["drsf"], "env": "smoke", "runtime_params": {"training": {"max_steps": 6}, "seed": 1}},
     "kedro run --pipeline=drsf --env=smoke --params=training.max_steps=6,seed=1"),
    ({"pipeline_names": ["drsf"], "env": None, "runtime_params": {}}, "kedro run --pipeline=drsf"),
])
def test_command_repeats_the_run(given: dict[str, Any], command: str) -> None:
    assert _command(given) == command
