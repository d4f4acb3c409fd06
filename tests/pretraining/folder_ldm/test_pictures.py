"""The images that an LDM may see, and the folders that are refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dg_project.config import DataParams, PretrainFolderLDMParams
from dg_project.core.errors import DataError, ParameterError
from dg_project.pretraining.folder_ldm.pictures import choose, list_images, planned, read_pictures


def plan(root: Path, **params: Any) -> dict[str, list[str]]:
    return planned(root, PretrainFolderLDMParams(**params))


def test_planned_models(root: Path) -> None:
    assert plan(root) == {"all": ["art", "photo", "sketch"]}
    assert plan(root, held_out="photo") == {"photo": ["art", "sketch"]}
    assert plan(root, held_out="each") == {
        "art": ["photo", "sketch"], "photo": ["art", "sketch"], "sketch": ["art", "photo"]}
    assert plan(root, domains="art+photo+sketch", held_out="art+photo").keys() == {"art", "photo"}


@pytest.mark.parametrize(("params", "error", "message"), [
    ({"held_out": "phto"}, ParameterError, r"held_out: 'phto' is not one of .* Did you mean 'photo'"),
    ({"domains": "art+phto"}, DataError, r"phto' is missing.* Did you mean 'photo'"),
    ({"domains": "art"}, DataError, r"needs 2 domains, but .* has 1 \(art\) and 'all' would see 1"),
    ({"domains": "art+photo", "held_out": "each"}, DataError, r"'art' would see 1: give a root with more"),
    ({"domains": "art+photo", "held_out": "sketch"}, ParameterError, "'sketch' is not one of the domains art, photo"),
])
def test_wrong_domains_error(root: Path, params: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plan(root, **params)


def test_empty_roots_error(tmp_path: Path, root: Path, data: DataParams) -> None:
    with pytest.raises(DataError, match=r"data root .* is missing"):
        plan(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has 0 \(none\)"):
        plan(tmp_path / "empty")
    shutil.rmtree(root / "art/cat")
    shutil.rmtree(root / "art/dog")
    with pytest.raises(DataError, match=r"there is no class folder in .*art"):
        list_images(root, ["art", "photo"], None, data, 16)
    (root / "art/dog").mkdir()
    with pytest.raises(DataError, match="art"):
        list_images(root, ["art", "photo"], None, data, 16)
    shutil.copy(root / "photo/dog/0.png", root / "art/dog")
    with pytest.raises(DataError, match=r"art' has one image"):
        list_images(root, ["art", "photo"], None, data, 16)


def test_small_images_error(root: Path, data: DataParams) -> None:
    with pytest.raises(DataError, match=r"art/cat/0.png: it has 24 x 20 pixels, too few to train at 24 x 24 \(20 of 20 "
                                        r".* lower pretrain_folder_ldm.size"):
        list_images(root, ["art", "photo"], None, data, 24)


def test_images_are_drawn_by_seed_and_id(root: Path, data: DataParams) -> None:
    rows = list_images(root, ["art", "photo"], None, data, 16)
    train, held = choose(rows, 6, 0)
    assert train["domain"].value_counts().to_dict() == {"art": 6, "photo": 6}
    assert held["domain"].value_counts().to_dict() == {"art": 1, "photo": 1}
    assert not set(train["image_id"]) & set(held["image_id"])
    assert len(choose(rows, None, 0)[0]) == 18
    assert choose(rows, 6, 1)[0]["image_id"].tolist() != train["image_id"].tolist()


def test_read_pictures_are_squares_with_names(root: Path, data: DataParams) -> None:
    rows = list_images(root, ["art", "sketch"], ["cat", "dog"], data, 16)
    pictures = read_pictures(rows, root, 16)
    assert pictures.images.shape == (20, 3, 16, 16)
    assert (pictures.domains[0], pictures.classes[0], pictures.classes[-1]) == ("art", "cat", "dog")
    assert pictures.rows("sketch") == list(range(10, 20))
    assert pictures.images[:10].float().mean() < pictures.images[10:].float().mean()
