"""Online augmentation: refreshes of the synthetic set, and training across sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from run_settings import settings

from dg_project.config import OnlineParams, PseudoDomain
from dg_project.core.errors import ParameterError
from dg_project.core.files import file_hash
from dg_project.data.manifest import select
from dg_project.diffusion.generator import Generator
from dg_project.experiments.training_data import TrainingData
from dg_project.experiments.training_run import TrainingRun
from dg_project.methods.model_folder import read_card
from dg_project.pseudo.renewal import SyntheticSets, draw_domains, refresh_positions, refresh_steps
from dg_project.training import loop

PROMPTS = {name: PseudoDomain(prompt=name) for name in ("fog", "night", "rain")}


def sets(source: pd.DataFrame, root: Path, checkpoint: Path, workspace: Path, gate: dict[str, Any] | None = None,
         **options: Any) -> SyntheticSets:
    chosen = settings(ldm__checkpoint=str(checkpoint), **({"sampling__gate": gate} if gate else {}))
    params = OnlineParams(**{"strength": (0.5, 1.0), "candidates": 2, **options})
    return SyntheticSets(select(source, split="train", role="source"), root, params, chosen, Generator.open(checkpoint),
                         workspace)


def floats(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255


def test_refresh_replaces_images_in_rotation(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_ldm: Path,
                                             tmp_path: Path) -> None:
    chain = sets(tiny_manifest, tiny_streets, tiny_ldm, tmp_path, refresh_images=3)
    start, first, fourth = chain[0], chain[1], chain[4]
    images = len(start.manifest)
    assert set(start.manifest["domain"]) == {"synthetic"}
    assert [row.candidate for row in first.manifest.itertuples()] == [1, 1, 1, *[0] * (images - 3)]
    assert first.card["images_generated"] == 3 * 2
    assert first.card["ldm_seconds"] > 0
    assert fourth.card["images_generated"] == 4 * 3 * 2
    for before, row in zip(start.manifest.itertuples(), first.manifest.itertuples(), strict=True):
        assert file_hash(first.root / row.image) == row.sha256
        assert (row.sha256 == before.sha256) == (row.candidate == 0)
        assert np.array_equal(np.stack(row.boxes), np.stack(before.boxes))
        assert Image.open(first.root / row.image).size == (row.width, row.height)
    # Autoregressive: the image that the fourth refresh renews again was shown to the model as the first left it.
    again = fourth.manifest.iloc[1]
    assert again["candidate"] == 4
    cards = [json.loads(path.read_text()) for path in chain.folder.glob(f"candidates_004/*/{again['image_id']}_0.json")]
    assert {card["source_sha256"] for card in cards} == {first.manifest.iloc[1]["sha256"]}


def test_refresh_combines_style_and_content(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_ldm: Path,
                                            tmp_path: Path) -> None:
    chain = sets(tiny_manifest, tiny_streets, tiny_ldm, tmp_path, refresh_images=1, candidates=3)
    row = chain[1].manifest.iloc[0]
    source = floats(tiny_streets / chain[0].manifest.iloc[0]["image"])
    spectra = [torch.fft.fft2(floats(p)) for p in sorted(chain.folder.glob("candidates_001/*/*.png"))]
    own = torch.fft.fft2(source)
    logs = [(torch.fft.rfft2(torch.fft.ifft2(s).real, norm="ortho").abs() + 1e-3).log().flatten()
            for s in [own, *spectra]]
    style = max(range(3), key=lambda i: -torch.cosine_similarity(logs[0], logs[1 + i], dim=0))
    half = source.shape[-1] // 2 + 1
    content = max(range(3), key=lambda i: (spectra[i].angle() - own.angle())[..., :half].cos().mean())
    expected = torch.fft.ifft2(spectra[style].abs() * torch.exp(1j * spectra[content].angle())).real.clamp(0, 1)
    torch.testing.assert_close(floats(chain[1].root / row["image"]), expected, atol=1 / 254, rtol=0)


def test_refresh_adain_on_latents(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_ldm: Path,
                                  tmp_path: Path) -> None:
    one = sets(tiny_manifest, tiny_streets, tiny_ldm, tmp_path, refresh_images=1, decomposition="adain")[1]
    assert Image.open(one.root / one.manifest.iloc[0]["image"]).size == (96, 64)


def test_refresh_keeps_image_if_objects_lost(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_ldm: Path,
                                             tmp_path: Path) -> None:
    lost = {"min_visibility": 1.0, "drop_below": 1.0, "down_weight_below": 1.0}
    chain = sets(tiny_manifest, tiny_streets, tiny_ldm, tmp_path, gate=lost, refresh_images=2)
    assert chain[1].manifest["sha256"].tolist() == chain[0].manifest["sha256"].tolist()
    assert chain[1].manifest["reason"].iloc[0].startswith("kept a former image: 0 of")
    assert chain[1].card["asked"] == 2
    assert chain[1].card["replaced"] == 0


def test_finished_sets_are_cached(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_ldm: Path, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    before = sets(tiny_manifest, tiny_streets, tiny_ldm, tmp_path, refresh_images=2)[1].manifest
    monkeypatch.setattr(Generator, "generate", None)
    after = sets(tiny_manifest, tiny_streets, tiny_ldm, tmp_path, refresh_images=2, refresh_epochs=3)[1].manifest
    assert after["sha256"].tolist() == before["sha256"].tolist()


def test_draw_domains() -> None:
    drawn = draw_domains(PROMPTS, OnlineParams(candidates=4, strength=(0.3, 0.7)), 0, 1)
    assert len(drawn) == 4
    assert {domain.prompt for domain in list(drawn.values())[:3]} == {"fog", "night", "rain"}
    assert all(0.3 <= domain.strength <= 0.7 for domain in drawn.values())
    assert not drawn.keys() & draw_domains(PROMPTS, OnlineParams(), 0, 2).keys()
    assert {domain.strength for domain in draw_domains(PROMPTS, OnlineParams(strength=None), 0, 1).values()} == {1.0}


def test_refresh_positions() -> None:
    assert [refresh_positions(5, 2, number) for number in (1, 2, 3)] == [[0, 1], [2, 3], [0, 4]]
    assert refresh_positions(3, None, 7) == [0, 1, 2]


def test_refresh_steps() -> None:
    assert refresh_steps(OnlineParams(refreshes=None), 20, 8, 16) == [5, 10, 15]
    assert refresh_steps(OnlineParams(refresh_epochs=0.5), 20, 8, 4) == [2]
    assert refresh_steps(OnlineParams(), 20, 8, 16) == [5, 10], "two, unless more are asked for"
    with pytest.raises(ParameterError, match="first refresh would come after step 5, and the training ends at 5"):
        refresh_steps(OnlineParams(), 20, 8, 5)


def test_strength_without_steps_error(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_ldm: Path,
                                      tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"raise ldm\.steps to 4"):
        sets(tiny_manifest, tiny_streets, tiny_ldm, tmp_path, strength=(0.3, 0.7))


def test_killed_training_resumes_with_its_set(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_ldm: Path,
                                              tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TrainingData(select(tiny_manifest, role="source"), tiny_streets)
    chosen = settings(task="classification", ldm__checkpoint=str(tiny_ldm), classification={"image_size": [32, 32]},
                      domainfusion={"refresh_epochs": 0.5, "refresh_images": 2, "candidates": 2, "strength": [0.5, 1]})
    whole = TrainingRun.resolve("domainfusion", chosen, data, tmp_path / "whole").train()
    assert len(whole.sets) == 3
    meta = read_card(whole.folder)[1]
    assert meta["images_generated"] == 2 * 2 * 2
    asked = whole.history["log_ldm_seconds_per_image"].sum() * chosen.training.images_per_step
    assert meta["ldm_seconds"] == pytest.approx(whole.sets[-1].card["ldm_seconds"] + asked)
    assert {"loss_classification", "loss_synthetic_classification", "loss_ld", "log_ld_slope", "log_ld_size",
            "log_ld_raising", "log_confidence"} <= set(whole.history)

    step = loop._Run.step

    def killed_in_the_last_round(self: Any, number: int, batch: Any) -> Any:
        if number == 5:
            raise KeyboardInterrupt
        return step(self, number, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "step", killed_in_the_last_round)
        with pytest.raises(KeyboardInterrupt):
            TrainingRun.resolve("domainfusion", chosen, data, tmp_path / "cut").train()
    resumed = TrainingRun.resolve("domainfusion", chosen, data, tmp_path / "cut").train()
    assert file_hash(resumed.folder / "model.safetensors") == file_hash(whole.folder / "model.safetensors")


def test_detection_without_distillation(tiny_manifest: pd.DataFrame, tiny_streets: Path, tiny_ldm: Path,
                                        tmp_path: Path) -> None:
    data = TrainingData(select(tiny_manifest, role="source"), tiny_streets)
    chosen = settings(ldm__checkpoint=str(tiny_ldm), training__max_steps=3,
                      domainfusion={"refresh_epochs": 0.5, "refresh_images": 1, "strength": [0.5, 1]})
    trained = TrainingRun.resolve("domainfusion", chosen, data, tmp_path).train()
    assert len(trained.sets) == 2
    losses = {name for name in trained.history if name.startswith("loss_")}
    assert {name.replace("loss_synthetic_", "loss_") for name in losses} == losses - {
        name for name in losses if "synthetic" in name}
    assert "loss_ld" not in losses


def test_several_processes_error(tiny_manifest: pd.DataFrame, tiny_streets: Path, tmp_path: Path) -> None:
    chosen = settings(training__processes=2, training__accumulate=2)
    with pytest.raises(ParameterError, match=r"set training\.processes: 1"):
        TrainingRun.resolve("domainfusion", chosen, TrainingData(tiny_manifest, tiny_streets), tmp_path).train()
