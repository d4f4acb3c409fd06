"""What a training with unlabelled target images opens: those images, and nothing else of a target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from run_settings import CONF, settings
from safetensors.torch import load_file
from streets_fixture import SOURCE, TARGETS

from dg_project.core.errors import DataError
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import TrainingRun
from dg_project.hooks.run_context import parse_parameters
from dg_project.methods.model_folder import read_card
from dg_project.pipelines.ingestion.nodes import ingest_adapt
from dg_project.settings import CONFIG_LOADER_ARGS

opened: list[Path] | None = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and opened is not None and isinstance(arguments[0], str):
        opened.append(Path(arguments[0]))


sys.addaudithook(_listen)  # hooks cannot be taken away again; this one is deaf but in the test below


SEGMENTATION = {"task": "segmentation", "segmentation__image_size": [64, 96], "segmentation__channels": 16}


@pytest.mark.parametrize(("method", "loss", "options"), [
    ("mic", "loss_consistency", {"mic__pseudo_sure": 0.1}),
    ("drsf_uda", "loss_consistency", {"drsf_uda__pseudo_sure": 0.1}),
    ("diga", "loss_mix", SEGMENTATION),
    ("drsf_diga", "loss_mix", SEGMENTATION),
])
def test_uda_opens_unlabelled_target_images_only(
        method: str, loss: str, options: dict[str, Any], tiny_streets: Path,
        tiny_manifest: pd.DataFrame, tiny_pseudo: tuple[Path, pd.DataFrame],
        tmp_path: Path) -> None:
    global opened
    chosen = settings(training__max_steps=2, training__validate_every=2, data__root=str(tiny_streets),
                      data__adapt_split="adapt", **options)
    pseudo = tiny_pseudo[1].assign(candidates=1)
    opened = []
    adapt, _ = ingest_adapt(chosen.data)
    data = TrainingData(tiny_manifest[tiny_manifest["role"] == "source"], tiny_streets, pseudo, tiny_pseudo[0],
                        adapt=adapt)
    trained = TrainingRun.resolve(method, chosen, data, tmp_path / "work").train()
    seen, opened = opened, None
    of_targets = {path for path in seen if set(TARGETS) & set(path.parts)}
    images = {path for path in of_targets if path.suffix != ".txt"}
    assert images == {tiny_streets / image for image in adapt["image"]}
    assert {path.name for path in of_targets - images} == {"adapt.txt"}
    assert any(SOURCE in path.parts for path in seen)
    assert not any("test_" in path.name for path in images)
    spec, meta = read_card(trained.folder)
    assert spec.domains[-1] == "adapt"
    assert meta["images_adapted_to"] == len(adapt) == 12
    assert not [name for name in load_file(trained.folder / "model.safetensors") if "teacher" in name]
    assert trained.history[loss].notna().iloc[-1]


def test_unlabelled_images_reach_uda_methods_only(
        tiny_streets: Path, tiny_manifest: pd.DataFrame, tiny_adapt: pd.DataFrame, tmp_path: Path) -> None:
    data = TrainingData(tiny_manifest, tiny_streets, adapt=tiny_adapt)
    nothing = TrainingData(tiny_manifest, tiny_streets, adapt=tiny_adapt.head(0))
    with pytest.raises(DataError, match="'mic' adapts to unlabelled target images, and there are none"):
        TrainingRun.resolve("mic", settings(), nothing, tmp_path)
    for path in tiny_streets.glob("*/VOC2007/JPEGImages/adapt_*"):
        path.unlink()
    trained = TrainingRun.resolve("erm", settings(training__max_steps=1), data, tmp_path).train()
    assert read_card(trained.folder)[1]["images_adapted_to"] == 0


def test_without_a_split_nothing_is_read(tmp_path: Path) -> None:
    assert settings().data.adapt_split is None
    manifest, skipped = ingest_adapt(settings(data__root=str(tmp_path / "nowhere")).data)
    assert manifest.empty
    assert skipped == []


def test_combined_methods_inherit_parameters() -> None:
    changes = {"drsf": {"lambda_align": 0.7}, "mic": {"teacher_alpha": 0.99}, "diga": {"beta": 0.9}}
    raw = OmegaConfigLoader(conf_source=str(CONF), env="smoke", runtime_params=changes,
                            **CONFIG_LOADER_ARGS)["parameters"]
    own = {name: params.model_dump() for name, params in parse_parameters(raw).methods.items()}
    assert own["drsf_uda"] == {**own["drsf"], **own["mic"]}
    assert (own["drsf_uda"]["lambda_align"], own["drsf_uda"]["teacher_alpha"]) == (0.7, 0.99)
    assert own["drsf_diga"] == {**own["drsf"], **own["diga"]}
    warm_up = {name: value for name, value in own["diga"].items() if name != "self_training"}
    assert own["diga_warmup"] == own["diga_crossdomix"] == warm_up
