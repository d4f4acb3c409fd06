import shutil

import pytest
from layouts import HEIGHT, WIDTH, image_folder, picture
from reading import read, stops_and_skips
from torchvision.datasets import ImageFolder

from dg_project.core.errors import DataError
from dg_project.data.card import data_card, format_card
from dg_project.data.readers import read_domain

CLASSES = ["dog", "elephant", "giraffe"]
SHARES = {"train": "all[:80%]", "val": "all[80%:90%]", "test": "all[90%:]"}


@pytest.fixture
def root(tmp_path):
    return image_folder(tmp_path)


def test_image_folder_equals_torchvision(root):
    manifest = read("image_folder", root, "photo", "all", CLASSES).set_index("image")
    reference = ImageFolder(str(root / "photo"))
    assert len(manifest) == len(reference) == 30
    for path, label in reference.samples:
        row = manifest.loc[path.removeprefix(f"{root}/")]
        assert row["labels"] == [label + 1]
        assert reference.classes[label] == CLASSES[row["labels"][0] - 1]
        assert row["boxes"] == [[0, 0, row["width"], row["height"]]]
        assert row["difficult"] == [False]
    assert manifest["width"].nunique() == 10  # sizes may differ


def test_shares_depend_on_seed_and_image(root):
    first, _ = read_domain("image_folder", root, "photo", "source", SHARES, CLASSES)
    assert first["split"].value_counts().to_dict() == {"train": 24, "val": 3, "test": 3}
    assert first["image_id"].is_unique
    again, _ = read_domain("image_folder", root, "photo", "source", SHARES, CLASSES)
    assert first.to_dict("records") == again.to_dict("records")
    other, _ = read_domain("image_folder", root, "photo", "source", SHARES, CLASSES, split_seed=1)
    one, two = (set(manifest.loc[manifest["split"] == "train", "image_id"]) for manifest in (first, other))
    assert one != two


def test_card_shows_missing_class(root):
    manifest = read("image_folder", root, "art_painting", "all", CLASSES)
    assert "no box of giraffe in art_painting/train" in format_card(data_card(manifest, CLASSES, [])).splitlines()
    (root / "art_painting" / "giraffe").mkdir()  # an empty folder is the same
    assert len(read("image_folder", root, "art_painting", "all", CLASSES)) == 20


def test_class_folders_in_message(root):
    with pytest.raises(DataError, match=r"'elephant', 'giraffe' are not in .*: \[dog, elephant, giraffe\]"):
        read("image_folder", root, "photo", "all", ["dog"])
    assert len(read("image_folder", root, "photo", "all", ["dog"], other_classes="ignore")) == 30


def test_domainnet_lists(root):
    lines = [f"photo/dog/pic_{k:03d}.jpg 0" for k in (4, 2)] + ["photo/giraffe/pic_000.jpg 2"]
    (root / "photo_train.txt").write_text("\n".join(lines) + "\n")
    manifest = read("image_folder", root, "photo", "train", CLASSES)
    assert manifest["image_id"].tolist() == ["dog/pic_004", "dog/pic_002", "giraffe/pic_000"]
    assert manifest["labels"].tolist() == [[1], [1], [3]]
    splits = {"train": "train[:67%]", "val": "train[67%:]"}
    counts = read_domain("image_folder", root, "photo", "source", splits, CLASSES)[0]["split"].value_counts()
    assert counts.to_dict() == {"train": 2, "val": 1}
    (root / "photo_train.txt").write_text("photo/dog/gone.jpg 0\n")
    with pytest.raises(DataError, match=r"photo_train\.txt: it lists 'photo/dog/gone\.jpg', which is not in"):
        read("image_folder", root, "photo", "train", CLASSES)


def test_missing_split_suggests_shares(root):
    with pytest.raises(DataError, match=r"the only split of 'photo' is 'all'; take shares of it: .*'all\[:80%\]'"):
        read("image_folder", root, "photo", "train", CLASSES)


def test_broken_duplicate_misplaced_images(root):
    arguments = {"reader": "image_folder", "root": root, "domain": "photo", "role": "source",
                 "splits": {"train": "all"}, "classes": CLASSES}
    (root / "photo" / "dog" / "pic_003.jpg").write_text("hello")
    assert len(stops_and_skips(r"pic_003\.jpg: it is truncated or no image", **arguments)) == 29
    picture(root / "photo" / "dog" / "pic_003.jpg")
    picture(root / "photo" / "dog" / "pic_003.png")
    assert len(stops_and_skips(r"the image id 'dog/pic_003' comes twice in the domain 'photo'", **arguments)) == 30
    for name in CLASSES:
        shutil.rmtree(root / "photo" / name)
    (root / "photo" / "photo.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"no class folder in .* There is an archive in '.*photo': unpack 'photo\.tar\.gz'"):
        read_domain(**arguments)


def test_unicode_spaces_and_suffixes(root):
    folder = root / "Real World" / "Postit Notes"
    for k, name in enumerate(["ein Bild.JPG", "Größe.png", "c.webp", "d.bmp"]):
        picture(folder / name, k)
    manifest = read("image_folder", root, "Real World", "all", ["Postit Notes"])
    assert manifest["image_id"].tolist() == [f"Postit Notes/{stem}" for stem in ("Größe", "c", "d", "ein Bild")]
    assert set(manifest["width"]) == {WIDTH}
    assert set(manifest["height"]) == {HEIGHT}
