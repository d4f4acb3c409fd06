"""docs/add_a_dataset.md: valid examples, complete tables, working reader."""

import re
from functools import partial
from pathlib import Path

import pytest
import yaml
from layouts import HEIGHT, WIDTH, picture

from dg_project.config import DataParams
from dg_project.data.readers import READERS, base, folders, read_domain

TEXT = (Path(__file__).parents[3] / "docs" / "add_a_dataset.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(block)["data"] for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]


@pytest.mark.parametrize("example", EXAMPLES, ids=[example["source"] for example in EXAMPLES])
def test_docs_examples_are_valid(example):
    data = DataParams(**{"classes": ["car"], **example})
    for domain in [data.source, *data.targets]:
        reader, _, options = data.layout(domain)
        READERS[reader].Options.model_validate(options)
    for stored_as in [*data.splits.values(), data.target_split or "test"]:
        folders.split_share(stored_as)


def test_docs_tables_are_complete():
    rows = [line.split("|")[1:3] for line in TEXT.splitlines() if line.startswith("|")]
    assert [name.strip(" `") for name, _ in rows if name.strip(" `") in READERS][:len(READERS)] == list(READERS)
    options = TEXT[TEXT.index("### Options"):TEXT.index("## 3.")]
    for name, reader in READERS.items():
        for option in reader.Options.model_fields:
            assert f"`{option}`" in options, (name, option)


def test_docs_reader_works(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    names = {"partial": partial, "Path": Path, **vars(base), **vars(folders)}
    exec(compile("from __future__ import annotations\n" + code, "add_a_dataset.md", "exec"), names)
    monkeypatch.setitem(READERS, "plain", names["PlainReader"])
    picture(tmp_path / "day" / "train" / "a.jpg")
    (tmp_path / "day" / "train" / "a.txt").write_text("car\n")
    manifest, _ = read_domain("plain", tmp_path, "day", "source", {"train": "train"}, ["car"])
    assert manifest.loc[0, "boxes"] == [[0, 0, WIDTH, HEIGHT]]
