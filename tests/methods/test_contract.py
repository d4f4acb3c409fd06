"""Contract tests of every registered method."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import pytest
import torch
from streets_fixture import CLASSES, TARGETS

from dg_project.config import TASK_PARAMS, BackboneParams, Params, SegmentationParams, Task, TrainingParams
from dg_project.core.errors import CheckpointError, ParameterError
from dg_project.data.batches import Batch, BatchStream, Shard
from dg_project.data.dataset import ManifestDataset
from dg_project.data.manifest import select
from dg_project.data.unlabelled import UnlabelledStream
from dg_project.experiments.training_data import task_rows
from dg_project.methods import method_classes
from dg_project.methods.base import Method, Needs
from dg_project.methods.model_folder import CARD, WEIGHTS, ModelSpec, build_method, load_model, read_card, save_model
from dg_project.tasks import TASK_MODELS
from dg_project.training.loop import OnLog, train

DOMAINS = ["daytime_clear", "night", "fog"]
METHODS = sorted([*method_classes(), *(f"{name}@mixed" for name, kind in method_classes().items()
                                       if "mixed" in kind.needs.other_batches and name != "erm")])
"""Every method; with ``@mixed`` on mixed batches (for ERM that is naive mixing, so it is left out)."""
BOXES: dict[str, Any] = {"image_size": (64, 96), "fpn_channels": 16, "box_head_features": 16, "proposals_train": 32,
                         "proposals_test": 16, "rois_per_image": 16, "anchors_per_image": 32}
HEADS: dict[Task, dict[str, Any]] = {
    "detection": BOXES, "instance_segmentation": {**BOXES, "mask_roi_size": 4, "mask_channels": 8},
    "segmentation": {"image_size": (64, 96), "channels": 16}, "classification": {"image_size": (32, 32)},
}
QUICK: dict[str, dict[str, Any]] = {"mode_a": {"steps": 1}, "mode_f": {"steps": 1}}
"""Fewer steps for slow searches."""
Datasets = tuple[ManifestDataset, ManifestDataset, ManifestDataset]


def kind_of(name: str) -> type[Method]:
    return method_classes()[name.split("@")[0]]


def needs_of(name: str) -> Needs:
    return kind_of(name).needs.on("mixed" if name.endswith("@mixed") else None)


def task_of(name: str) -> Task:
    """Return detection, or the first supported task."""
    tasks = kind_of(name).tasks
    return "detection" if "detection" in tasks else tasks[0]


def domains(name: str) -> list[str]:
    known = name.split("@")[0] in method_classes()
    return [*DOMAINS, "adapt"] if known and needs_of(name).unlabelled_targets else DOMAINS


def spec(name: str, classes: list[str], task: Task | None = None, backbone: str = "test_efficientnet",
         **options: Any) -> ModelSpec:
    task = task or task_of(name)
    return ModelSpec(method=name.split("@")[0], method_params={**QUICK.get(name, {}), **options}, classes=classes,
                     domains=domains(name), task=task, head=TASK_PARAMS[task](**HEADS[task]).model_dump(mode="json"),
                     backbone=BackboneParams(name=backbone, weights=None, frozen_stages=1))


def untrained(built: ModelSpec, seed: int) -> Method:
    """Build a method as a training run does."""
    method = build_method(built, seed)
    method.adapt_to(TARGETS if method.needs.unlabelled_targets else [])
    return method


@pytest.fixture
def task(request: pytest.FixtureRequest) -> Task:
    return task_of(request.getfixturevalue("name"))


def class_names(task: Task) -> list[str]:
    return SegmentationParams().classes if task == "segmentation" else CLASSES


@pytest.fixture
def classes(task: Task) -> list[str]:
    return class_names(task)


@pytest.fixture
def datasets(task: Task, tiny: Any) -> Datasets:
    return data_of(task, tiny)


def data_of(task: Task, tiny: Any) -> Datasets:
    parts, head = TASK_MODELS[task].parts, HEADS[task]
    train_rows = task_rows(select(tiny.manifest, split="train", role="source"), task, head)
    return (ManifestDataset(train_rows, tiny.streets, parts=parts),
            ManifestDataset(task_rows(tiny.pseudo_manifest, task, head), tiny.pseudo, tiny.streets, parts),
            ManifestDataset(tiny.adapt, tiny.streets))


def stream(datasets: Datasets, name: str) -> BatchStream:
    source, pseudo, adapt = datasets
    needs = needs_of(name)
    unlabelled = UnlabelledStream(adapt, len(domains(name)) - 1, 2, 0, 0.5).batch if needs.unlabelled_targets else None
    return BatchStream(source, None if needs.batches == "source" else pseudo, domains(name), needs.batches, 6, 0, 0.5,
                       unlabelled)


def step_losses(method: Method, batch: Batch, seed: int = 0) -> dict[str, torch.Tensor]:
    method.begin_step()
    torch.manual_seed(seed)
    losses = method.losses(batch, 0.0)
    method.end_step()
    return losses


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack([value for name, value in losses.items() if name.startswith("loss_")]).sum()


def minimised(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the sum without ``loss_adv_*``, which need not fall."""
    return total({name: value for name, value in losses.items() if not name.startswith("loss_adv_")})


@pytest.fixture(scope="module", params=METHODS)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param


EVERY_TASK = pytest.mark.parametrize(("name", "task"), [(name, task) for name in METHODS for task in HEADS
                                                        if task in kind_of(name).tasks])


def test_first_methods_are_registered() -> None:
    assert {"erm", "naive", "mixstyle", "drsf"} <= set(METHODS)


def test_name_and_parameters(name: str, tiny_classes: list[str]) -> None:
    kind = kind_of(name)
    assert kind.name == name.split("@")[0]
    assert issubclass(kind.Params, Params)
    kind.Params()
    assert kind.__doc__
    assert kind.Params.__doc__
    with pytest.raises(ParameterError, match="unknown parameter 'nonsense'"):
        build_method(spec(name, tiny_classes, nonsense=1))


@pytest.mark.parametrize("task", HEADS)
@pytest.mark.parametrize("backbone", ["resnet18", "resnet26", "convnext_atto", "efficientnet_lite0", "vit_small"])
def test_drsf_on_any_backbone_and_task(backbone: str, task: Task, classes: list[str],
                                           datasets: Datasets, tmp_path: Path) -> None:
    about = spec("drsf", classes, task, backbone)
    method = build_method(about).train()
    losses = step_losses(method, stream(datasets, "drsf").batch(0))
    assert {"loss_align", "loss_rea", "loss_adv_image"} <= set(losses)
    total(losses).backward()
    groups = method.parameter_groups()
    for weights in groups.values():
        assert all(torch.isfinite(weight.grad).all() for weight in weights if weight.grad is not None)
    assert sum(weight.grad is not None for weight in groups["backbone"]) > 0.9 * len(groups["backbone"])
    before = [weight.detach().clone() for weight in groups["backbone"]]
    torch.optim.AdamW([w for weights in groups.values() for w in weights], lr=1e-3).step()
    assert any(not torch.equal(old, new) for old, new in zip(before, groups["backbone"], strict=True))
    save_model(method, about, tmp_path / "model")
    images = [torch.rand(3, 40, 56)]
    found, again = (each.eval().predict(images)[0] for each in (method, load_model(tmp_path / "model")))
    assert found
    assert all(torch.equal(found[part], again[part]) for part in found)


@EVERY_TASK
def test_losses_are_finite_and_fall(name: str, task: Task, classes: list[str],
                                    datasets: Datasets) -> None:
    method = build_method(spec(name, classes, task)).train()
    batch = stream(datasets, name).batch(0)
    first = step_losses(method, batch)
    assert first
    assert all(key.startswith(("loss_", "log_")) for key in first)
    assert all(value.ndim == 0 and value.isfinite() for value in first.values())
    optimizer = torch.optim.AdamW([w for group in method.parameter_groups().values() for w in group], lr=3e-3)
    values = []
    for _ in range(12):
        optimizer.zero_grad()
        losses = step_losses(method, batch)
        values.append(minimised(losses).item())
        total(losses).backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 10.0)  # as the loop does
        optimizer.step()
    # A mean, because single steps jump with an adversary.
    assert fmean(values[-5:]) < 0.8 * values[0]


@EVERY_TASK
def test_micro_batch_losses_are_finite(name: str, task: Task, classes: list[str], datasets: Datasets) -> None:
    method, batches = build_method(spec(name, classes, task)).train(), stream(datasets, name)
    for step in range(2):
        for part in batches.parts(step, Shard(2)):
            assert all(value.isfinite() for value in step_losses(method, part.batch).values())


def test_parameter_groups_are_complete(name: str, tiny_classes: list[str]) -> None:
    method = build_method(spec(name, tiny_classes))
    grouped = [id(weight) for group in method.parameter_groups().values() for weight in group]
    assert sorted(grouped) == sorted(id(weight) for weight in method.parameters() if weight.requires_grad)


def test_prediction_shapes(name: str, tiny_classes: list[str]) -> None:
    method = build_method(spec(name, tiny_classes))
    predictions = method.predict([torch.rand(3, 64, 96), torch.rand(3, 50, 70)])
    assert len(predictions) == 2
    for prediction in predictions:
        if "probabilities" in prediction:
            torch.testing.assert_close(prediction["probabilities"].sum(), torch.tensor(1.0))
            assert len(prediction["probabilities"]) == len(tiny_classes)
            continue
        if "mask" in prediction and "scores" not in prediction:
            assert prediction["mask"].dtype == torch.uint8
            assert int(prediction["mask"].max()) < len(tiny_classes)
            continue
        n = len(prediction["scores"])
        assert prediction["boxes"].shape == (n, 4)
        assert prediction["labels"].shape == (n,)
        assert prediction["labels"].dtype == torch.int64
        assert prediction["boxes"].dtype == torch.float32
    assert method.training, "predict leaves the mode as it was"


@EVERY_TASK
def test_saved_model_predicts_the_same(name: str, task: Task, classes: list[str], tmp_path: Path,
                                       datasets: Datasets) -> None:
    built = spec(name, classes, task)
    method = untrained(built, seed=3)
    params = TrainingParams(max_steps=2, selection="last", device="cpu")
    train(method, stream(datasets, name), params, tmp_path / "work")
    save_model(method, built, tmp_path / "model", {"step": 2, "source": "daytime_clear"})
    loaded = load_model(tmp_path / "model")
    assert not loaded.training
    assert read_card(tmp_path / "model") == (built, {"step": 2, "source": "daytime_clear"})
    images = [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    for mine, theirs in zip(method.predict(images), loaded.predict(images), strict=True):
        assert mine.keys() == theirs.keys()
        assert all(value.numel() for value in mine.values())
        assert all(torch.equal(value, theirs[key]) for key, value in mine.items())
    assert set(loaded.inference_state()) == set(method.inference_state())
    assert not any(key.split(".")[0] in method.training_only for key in method.inference_state())


@dataclass(frozen=True)
class Whole:
    """A finished training of four steps, with checkpoints after two and four.

    Attributes:
        result: history without the seconds, and all weights.
        cut: its folder as it was after the third step: what a training leaves that is killed there.
    """

    result: tuple[pd.DataFrame, dict[str, torch.Tensor]]
    cut: Path


WHOLE = TrainingParams(max_steps=4, selection="last", device="cpu", warmup_steps=4, checkpoint_every=2)


def trained(name: str, tiny: Any, workdir: Path, on_log: OnLog | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Train a method on its first task, or go on with the training in the folder."""
    task = task_of(name)
    method = untrained(spec(name, class_names(task)), seed=1)
    history = train(method, stream(data_of(task, tiny), name), WHOLE, workdir, seed=1, on_log=on_log).history
    return history.drop(columns="seconds"), method.state_dict()


@pytest.fixture(scope="module")
def whole(name: str, tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A training of the method that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")

    def copy(step: int, row: dict[str, float]) -> None:
        if step == 3:
            shutil.copytree(folder / "whole", folder / "cut")

    return Whole(trained(name, tiny, folder / "whole", copy), folder / "cut")


def test_same_seed_same_numbers(name: str, tiny: Any, whole: Whole, tmp_path: Path) -> None:
    history, weights = trained(name, tiny, tmp_path)
    pd.testing.assert_frame_equal(history, whole.result[0])
    assert all(torch.equal(value, whole.result[1][key]) for key, value in weights.items())


def test_resume_is_bit_equal(name: str, tiny: Any, whole: Whole) -> None:
    steps: list[int] = []
    _, weights = trained(name, tiny, whole.cut, lambda step, row: steps.append(step))
    assert steps == [3, 4]
    assert all(torch.equal(value, weights[key]) for key, value in whole.result[1].items())


def test_source_batches_open_no_pseudo_image(
        name: str, tiny_classes: list[str], datasets: Datasets,
        monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    plain = ManifestDataset.__getitem__

    def watched(self: ManifestDataset, index: int) -> Any:
        opened.append(self.domains[index])
        return plain(self, index)

    monkeypatch.setattr(ManifestDataset, "__getitem__", watched)
    batching = needs_of(name).batches
    batches = BatchStream(*datasets[:2], DOMAINS, batching, 6, 0, 0.5)
    seen = {int(domain) for step in range(6) for domain in batches.batch(step).domain_id}
    if batching == "source":
        assert seen == {0}
        assert set(opened) == {"daytime_clear"}
    else:
        assert seen == {0, 1, 2}


def test_broken_model_folder(tiny_classes: list[str], tmp_path: Path) -> None:
    built = spec("erm", tiny_classes)
    with pytest.raises(CheckpointError, match=r"holds no 'model\.json'"):
        load_model(tmp_path)
    save_model(build_method(built), built, tmp_path)
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[:200])
    with pytest.raises(CheckpointError, match=r"model.safetensors' cannot be read"):
        load_model(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(whole)
    (tmp_path / CARD).write_text((tmp_path / CARD).read_text().replace('"method": "erm"', '"method": "drsf"'))
    with pytest.raises(CheckpointError, match="do not fit the method 'drsf'"):
        load_model(tmp_path)
    (tmp_path / CARD).write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(tmp_path)


def test_method_refuses_unsupported_task(tiny_classes: list[str]) -> None:
    with pytest.raises(ParameterError, match="'lfme' is made for classification, not for detection: set task=class"):
        build_method(spec("lfme", tiny_classes, "detection"))


def test_unknown_method_names_nearest(tiny_classes: list[str]) -> None:
    with pytest.raises(ParameterError, match="Did you mean 'drsf'"):
        build_method(spec("drfs", tiny_classes, "detection"))
