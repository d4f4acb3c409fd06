import json

from streets_fixture import CLASSES, SOURCE

from dg_project.data.card import data_card, format_card


def test_data_card_counts(tiny_manifest):
    card = data_card(tiny_manifest, CLASSES, ["a.jpg: it is truncated"])
    assert json.loads(json.dumps(card)) == card
    assert [(e["domain"], e["split"], e["images"]) for e in card["splits"]][:3] == [
        (SOURCE, "train", 8), (SOURCE, "val", 4), (SOURCE, "test", 4)]
    assert len(card["splits"]) == 7
    for entry in card["splits"]:
        rows = tiny_manifest[(tiny_manifest["domain"] == entry["domain"]) & (tiny_manifest["split"] == entry["split"])]
        flat = [label for labels in rows["labels"] for label in labels]
        assert entry["boxes"] == len(flat) == sum(entry["boxes_per_class"].values())
        assert entry["boxes_per_class"] == {name: flat.count(i + 1) for i, name in enumerate(CLASSES)}
        assert entry["difficult"] == sum(sum(flags) for flags in rows["difficult"])
        assert entry["sizes"] == {"96x64": entry["images"]}
        assert entry["masks"] == entry["images"]


def test_fingerprint_depends_on_boxes(tiny_manifest):
    before = data_card(tiny_manifest, CLASSES, [])
    changed = tiny_manifest.copy(deep=True)
    boxes = [list(box) for box in changed.at[0, "boxes"]]
    boxes[0][0] += 1
    changed.at[0, "boxes"] = boxes
    after = data_card(changed, CLASSES, [])
    assert before["fingerprint"] != after["fingerprint"]
    same = [a["fingerprint"] == b["fingerprint"] for a, b in zip(before["splits"], after["splits"], strict=True)]
    assert same == [False, True, True, True, True, True, True]


def test_format_card(tiny_manifest):
    few = tiny_manifest[tiny_manifest["split"] != "test"]
    text = format_card(data_card(few, [*CLASSES, "tram"], ["a.jpg: it is truncated"] * 12))
    lines = text.splitlines()
    assert lines[0].split()[:5] == ["domain", "split", "images", "boxes", "difficult"]
    assert lines[2].split()[:3] == [SOURCE, "train", "8"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert any(line.startswith("no box of") and "tram" in line and line.endswith(f"{SOURCE}/train") for line in lines)
    assert "12 sample(s) skipped:" in lines
    assert lines[-1] == "  …"


def test_data_card_without_boxes(tiny_manifest):
    empty = tiny_manifest.head(2).assign(boxes=[[], []], labels=[[], []], difficult=[[], []])
    card = data_card(empty, CLASSES, [])
    assert card["splits"][0]["images_without_boxes"] == 2
    assert card["splits"][0]["box_side"] == []
    assert SOURCE in format_card(card)


def test_format_card_masks_and_many_classes(tiny_manifest):
    card = data_card(tiny_manifest, CLASSES, [])
    assert all(entry["masks"] == entry["instances"] == entry["images"] for entry in card["splits"])
    many = [*CLASSES, *(f"class {k}" for k in range(60))]
    lines = format_card(data_card(tiny_manifest, many, [])).splitlines()
    assert lines[0].split()[:7] == ["domain", "split", "images", "boxes", "difficult", "masks", "instances"]
    assert "class" not in lines[0]
    counts = {name: n for name, n in card["splits"][0]["boxes_per_class"].items() if n}
    line = next(line for line in lines if line.startswith(f"{SOURCE}/train: {len(counts)} classes, from "))
    assert f"from {min(counts.values())} boxes" in line
    assert f"to {max(counts.values())} (" in line
