"""Selection rules: the images they use, and that no target image is opened."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_settings import settings
from streets_fixture import SOURCE, TARGETS

from dg_project.config import checkpoint_fields
from dg_project.core.errors import DataError
from dg_project.data.dataset import ManifestDataset
from dg_project.experiments import training_run
from dg_project.experiments.held_out import leave_one_pseudo_out
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import TrainingRun
from dg_project.methods import method_classes
from dg_project.methods.model_folder import read_card

Pseudo = tuple[Path, pd.DataFrame]


def test_leave_one_pseudo_out(tiny_manifest: pd.DataFrame,
                              tiny_pseudo: Pseudo) -> None:
    pseudo = tiny_pseudo[1].copy()
    source = tiny_manifest[tiny_manifest["domain"] == SOURCE]
    fold = leave_one_pseudo_out(source, pseudo, seed=3, share=0.3)
    assert set(fold.held_out["domain"]) == {"fog"}  # domain 3 modulo 2
    assert set(fold.pseudo["domain"]) == {"night"}
    scenes = set(fold.held_out["source_image_id"])
    assert len(scenes) == 3  # 0.3 of eight, rounded up
    assert not scenes & set(fold.source.loc[fold.source["split"] == "train", "image_id"])
    assert not scenes & set(fold.pseudo["source_image_id"])
    assert (fold.source["split"] == "val").sum() == (source["split"] == "val").sum()
    assert len(fold.source) == len(source) - 3
    other = leave_one_pseudo_out(source, pseudo, seed=0, share=0.3).held_out
    assert set(other["domain"]) == {"night"}
    assert set(other["source_image_id"]) == scenes
    assert leave_one_pseudo_out(source, pseudo.sample(frac=1, random_state=0), 0, 0.3).source.equals(
        leave_one_pseudo_out(source, pseudo, 0, 0.3).source)
    pseudo.loc[(pseudo["domain"] == "fog") & (pseudo["source_image_id"] == min(scenes)), "kept"] = False
    assert len(leave_one_pseudo_out(source, pseudo, 3, 0.3).held_out) == 2


def test_leave_one_pseudo_out_refused(tiny_manifest: pd.DataFrame, tiny_pseudo: Pseudo) -> None:
    pseudo = tiny_pseudo[1]
    with pytest.raises(DataError, match=r"there are 1 domain\(s\) of 8 scene\(s\)"):
        leave_one_pseudo_out(tiny_manifest, pseudo[pseudo["domain"] == "fog"], 0, 0.2)
    with pytest.raises(DataError, match="dropped every held-out image of 'night'"):
        leave_one_pseudo_out(tiny_manifest, pseudo.assign(kept=pseudo["domain"] != "night"), 0, 0.2)


def needing_images() -> list[str]:
    """Methods that need only images; ``test_adaptation`` covers those that adapt, the test below the others."""
    return sorted({name for name, kind in method_classes().items() if not kind.needs.unlabelled_targets}
                  - set(needing_models()))


def needing_models() -> list[str]:
    """Methods that need several sources, a teacher, or a diffusion model in training."""
    return sorted(name for name, kind in method_classes().items() if not kind.needs.unlabelled_targets
                  and (kind.needs.several_domains or kind.needs.ldm == "training" or checkpoint_fields(kind.Params)))


@pytest.mark.parametrize(("name", "rule"), [*((name, "leave_one_pseudo_out") for name in needing_images()),
                                            ("naive", "source_val"), ("naive", "last")])
def test_training_opens_no_target_image(name: str, rule: str, tiny_manifest: pd.DataFrame,
                                        tiny_streets: Path, tiny_pseudo: Pseudo, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """The target folders and the source test split are deleted, so opening one of them fails."""
    for target in TARGETS:
        shutil.rmtree(tiny_streets / target)
    for image in (tiny_streets / SOURCE).rglob("test_*.jpg"):
        image.unlink()
    opened: set[str] = set()
    serve = ManifestDataset._open
    monkeypatch.setattr(ManifestDataset, "_open", lambda self, i: opened.add(self.image_ids[i]) or serve(self, i))
    pseudo = tiny_pseudo[1].assign(candidates=2)
    tasks = method_classes()[name].tasks
    options = settings(training__selection=rule, training__max_steps=1, seed=1,
                       task="detection" if "detection" in tasks else tasks[0])
    data = TrainingData(tiny_manifest[tiny_manifest["domain"] == SOURCE], tiny_streets, pseudo, tiny_pseudo[0])
    trained = TrainingRun.resolve(name, options, data, tmp_path / "workspace").train()
    card = read_card(trained.folder)[1]
    source_only = method_classes()[name].needs.batches == "source"
    used = "source_val" if rule == "leave_one_pseudo_out" and source_only else rule
    assert card["selection"] == used
    assert (used in trained.history) == (used != "last")
    assert card["images_generated"] == (0 if source_only else 32)
    assert {image.split("_")[0] for image in opened} == ({"train"} if used == "last" else {"train", "val"})


@pytest.mark.parametrize("name", needing_models())
def test_ldm_and_teacher_open_no_target_image(name: str, tiny_manifest: pd.DataFrame, tiny_streets: Path,
                                              tiny_ldm: Path, clip: Path, tmp_path: Path) -> None:
    """Several sources, a teacher, a diffusion model: the target folders are deleted here too."""
    for target in TARGETS:
        shutil.rmtree(tiny_streets / target)
    for image in (tiny_streets / SOURCE).rglob("test_*.jpg"):
        image.unlink()
    source = tiny_manifest[tiny_manifest["domain"] == SOURCE].reset_index(drop=True)
    several = method_classes()[name].needs.several_domains
    source["domain"] = [f"{SOURCE}_{k % 2}" if several else SOURCE for k in range(len(source))]
    options = settings(task="classification", training__max_steps=2, ldm__checkpoint=str(tiny_ldm),
                       data__source="+".join(dict.fromkeys(source["domain"])),
                       classification={"image_size": [32, 32], "min_side": 6},
                       domainfusion={"refresh_epochs": 0.25, "strength": [0.5, 1.0], "candidates": 1},
                       scmd={"teacher": str(clip), "embedding_size": 8, "average_from": 1})
    trained = TrainingRun.resolve(name, options, TrainingData(source, tiny_streets), tmp_path / "workspace").train()
    assert "source_val" in trained.history


def test_held_out_score_counts_half(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_pseudo: Pseudo,
                                    tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], Path]] = []

    def score(scorer: Any, found: pd.DataFrame, images: pd.DataFrame, classes: list[str], root: Path,
              metrics: Any) -> pd.DataFrame:
        seen.append((sorted(set(images["domain"])), root))
        return pd.DataFrame({"class": ["all"], "value": [0.2 if images["domain"].iloc[0] == SOURCE else 0.6]})

    monkeypatch.setattr(training_run, "score_predictions", score)
    options = settings(training__selection="leave_one_pseudo_out", training__max_steps=1)
    data = TrainingData(tiny_manifest, tiny_streets, tiny_pseudo[1].assign(candidates=1), tiny_pseudo[0])
    trained = TrainingRun.resolve("naive", options, data, tmp_path / "workspace").train()
    assert read_card(trained.folder)[1]["score"] == pytest.approx(0.4)
    assert seen == [([SOURCE], tiny_streets), (["night"], tiny_streets)]
