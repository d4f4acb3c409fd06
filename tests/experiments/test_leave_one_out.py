"""Leave-one-domain-out on image folders: splits, folds, records, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from folders_fixture import CLASSES, DOMAINS, build_folders

from dg_project.config import LeaveOneOutParams, Settings
from dg_project.core.errors import DataError, ParameterError
from dg_project.experiments.leave_one_out import chosen_methods, fold_settings, folds, layout, read_folders, with_means


def manifest(images: int = 10) -> pd.DataFrame:
    return pd.DataFrame([{"domain": domain, "image_id": f"{domain}{i}", "split": "all", "role": "source"}
                         for domain in DOMAINS for i in range(images)])


def test_folds_leave_each_domain_out_once() -> None:
    found = list(folds(manifest(), 0.8, 0))
    assert [fold.held_out for fold in found] == DOMAINS
    for fold in found:
        assert fold.held_out not in set(fold.source["domain"])
        assert fold.source.groupby(["domain", "split"]).size().to_dict() == {
            (name, split): n for name in DOMAINS if name != fold.held_out for split, n in (("train", 8), ("val", 2))}
        scored = fold.scored.groupby(["domain", "role"]).size().to_dict()
        assert scored[(fold.held_out, "target")] == 10
        validation = set(fold.source.loc[fold.source["split"] == "val", "image_id"])
        assert set(fold.scored.loc[fold.scored["role"] == "source", "image_id"]) == validation
    photo = [fold.source[fold.source["domain"] == "photo"]["split"].tolist() for fold in (found[0], found[2])]
    assert photo[0] == photo[1]
    other = next(folds(manifest(), 0.8, 1)).source
    assert other["split"].tolist() != found[0].source["split"].tolist()


def test_fold_batches_are_balanced_over_sources() -> None:
    settings = Settings.model_validate({
        "data": {"root": "r", "source": "x", "targets": ["y"], "classes": ["z"]}, "ldm": {"checkpoint": "c"},
        "synthesis": {"domains": {"n": {"prompt": "p"}}}, "leave_one_out": {"images_per_domain": 5}})
    one = fold_settings(settings, next(folds(manifest(), 0.8, 0)), CLASSES, 3)
    assert one.training.images_per_step == 10
    assert (one.task, one.seed, one.data.source, one.classes) == ("classification", 3, "photo+sketch", CLASSES)


def test_domains_and_classes_are_the_folders(tmp_path: Path) -> None:
    assert layout(build_folders(tmp_path, 1), LeaveOneOutParams()) == (DOMAINS, CLASSES)
    assert layout(tmp_path, LeaveOneOutParams(), CLASSES[:1]) == (DOMAINS, CLASSES[1:])


@pytest.mark.parametrize(("params", "message"), [
    ({"domains": "art+photo"}, r"needs 2 source domains or more next to .* has 2 domain\(s\) \(art, photo\)"),
    ({"domains": ["a+b", "art", "photo"]}, "has a [+] in its name"),
])
def test_too_few_domains_are_refused(tmp_path: Path, params: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        layout(build_folders(tmp_path, 1), LeaveOneOutParams(**params))
    with pytest.raises(DataError, match=r"data root .* is missing"):
        layout(tmp_path / "nowhere", LeaveOneOutParams())


def test_same_file_name_in_two_domains(tmp_path: Path) -> None:
    settings = Settings.model_validate({
        "data": {"root": "r", "source": "x", "targets": ["y"], "classes": ["z"]}, "ldm": {"checkpoint": "c"},
        "synthesis": {"domains": {"n": {"prompt": "p"}}}})
    images, _, _ = read_folders(build_folders(tmp_path, 2), LeaveOneOutParams(), settings)
    assert images["image_id"].is_unique
    assert images["image_id"].iloc[0] == "art/cat/0"


def test_chosen_methods_start_with_erm() -> None:
    assert chosen_methods(LeaveOneOutParams(), "scmd") == ["erm", "scmd"]
    assert chosen_methods(LeaveOneOutParams(methods="scmd+lfme"), "drsf") == ["erm", "scmd", "lfme"]
    assert chosen_methods(LeaveOneOutParams(), "domainfusion") == ["erm", "domainfusion"]
    assert chosen_methods(LeaveOneOutParams(methods="naive+drsf"), "erm") == ["erm", "naive", "drsf"]
    for name in ("mic", "nothing"):
        with pytest.raises(ParameterError, match=rf"the method '{name}' does not classify .*among .*dsi, erm, lfme"):
            chosen_methods(LeaveOneOutParams(), name)


def test_unseen_mean_over_held_out_domains() -> None:
    rows = [{"method": "erm", "seed": 0, "metric": "accuracy", "source": "s", "domain": name, "role": role,
             "value": value, "n_images": 4, "seconds_per_step": 1.0, "peak_memory_mb": 2.0}
            for name, role, value in (("a", "target", 0.2), ("b", "source", 0.9), ("b", "target", 0.4))]
    found = with_means(pd.DataFrame(rows))
    assert found["domain"].tolist() == ["a", "b", "unseen_mean"]
    assert found["value"].tolist() == pytest.approx([0.2, 0.4, 0.3])
    assert found["n_images"].iloc[-1] == 8
