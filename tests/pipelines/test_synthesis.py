"""The synthesis as a pipeline: a vocabulary of the data's own classes, shards of one job list."""

from __future__ import annotations

from typing import Any

Run = tuple[Any, str]


def test_synthesis_shards(drsf_run: Run) -> None:
    project, _ = drsf_run
    words = {"weather": ["foggy"], "time": ["dusk"], "objects": 1, "actions": {"car": ["skidding"]}}
    removed = dict.fromkeys(["fog", "dusk_rain", "night", "night_rain"])
    synthesis = {"domains": {**removed, "dusk_fog": {"vocabulary": words}}, "min_boxes": 1, "candidates": 1}
    parts = [project.run("synthesis", synthesis={**synthesis, "shard": shard}) for shard in ("1/2", "2/2")]
    shards = [project.load("candidate_manifest", version) for version in parts]
    assert [len(shard) for shard in shards] == [2, 2]
    version = project.run("synthesis", synthesis=synthesis)
    whole = project.load("candidate_manifest", version)
    assert {*whole["sha256"]} == {value for shard in shards for value in shard["sha256"]}
    assert whole["prompt"].str.startswith("a cityscape photo of a foggy street during dusk. A").all()
    assert len(list(project.load("candidate_images", version).rglob("*.png"))) == 4
