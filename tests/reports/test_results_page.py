"""The results pages are generated from the record files and say how their numbers were made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from evaluation.helpers import records
from quick_figures import skip_alignment

from dg_project.core.errors import DataError
from dg_project.core.files import weights_hash
from dg_project.reports.record_files import RECORDS, read_record_files
from dg_project.reports.results_page import (
    ARCHIVE,
    BEGIN,
    DIGA,
    END,
    INDEX,
    LABELS,
    PERFORMANCE,
    PHOTOGRAPHS,
    README,
    RESULTS,
    SPEED,
    main,
    render,
    with_block,
)

PROJECT = Path(__file__).parents[2]
PAGE = RESULTS / "detection.md"
FACTS = {"pipeline": "benchmark", "run": "v1", "commit": "0123456789abcdef", "dirty": False, "confidence": 0.95,
         "hardware": "a processor, 2 cores", "versions": {"Python": "3.11", "torch": "2.11"},
         "parameters": {"ldm": {"checkpoint": "data/06_models/tiny_ldm"}, "training": {"source_share": 0.5}}}


def grid() -> pd.DataFrame:
    """Records of three methods and three seeds; ``drsf`` is 10 points above ERM, ``uda`` opened target images."""
    shifts = {"erm": 0.0, "naive": 0.05, "drsf": 0.1, "uda": 0.2}
    table = records({method: {s: {"daytime_clear": 0.7, "fog": 0.4 + shift + s / 100 * (1 + shift), "night": 0.3}
                              for s in (0, 1, 2)} for method, shift in shifts.items()})
    settings = ["UDA" if method == "uda" else "DG" for method in table["method"]]
    changes = ['{"drsf": {"stage": 2}}' if method == "drsf" else "{}" for method in table["method"]]
    return table.assign(max_steps=300, images_per_step=6, inference_ms=[10.0 if m == "erm" else 10.1 for m in
                                                                        table["method"]],
                        inference_parameters=[1000 if m == "erm" else 1010 for m in table["method"]],
                        setting=settings, overrides=changes)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which a benchmark has run."""
    skip_alignment(monkeypatch)
    (tmp_path / README).write_text(f"# Title\n\n{BEGIN}\nold\n{END}\nrest\n")
    for end, write in {"records.csv": lambda p: grid().to_csv(p, index=False),
                       "facts.json": lambda p: p.write_text(json.dumps(FACTS))}.items():
        path = tmp_path / "data/07_model_output" / f"benchmark_{end}" / "v1" / f"benchmark_{end}"
        path.parent.mkdir(parents=True)
        write(path)
    return tmp_path


def later(project: Path, table: pd.DataFrame, run: str) -> None:
    """Add the records and facts of a later run."""
    for end, text in {"records.csv": table.to_csv(index=False), "facts.json": json.dumps(FACTS | {"run": run})}.items():
        path = project / "data/07_model_output" / f"benchmark_{end}" / run / f"benchmark_{end}"
        path.parent.mkdir(parents=True)
        path.write_text(text)


def test_committed_pages_equal_the_records() -> None:
    for path, text in render(PROJECT).items():
        assert (PROJECT / path).read_text() == text, f"{path} is out of date or edited by hand: run `make results`"
    for file in read_record_files(PROJECT / RECORDS):
        assert (PROJECT / "docs/images" / f"results_{file.name}.png").is_file()


def test_committed_pages_hold_each_record_once() -> None:
    sections = [name for path in (PROJECT / RESULTS).glob("*.md") if path.name != INDEX.name
                for name in re.findall(r'^<a id="(\w+)"></a>\n\n## \S', path.read_text(), re.MULTILINE)]
    assert sorted(sections) == [file.name for file in read_record_files(PROJECT / RECORDS)]


def test_anchors_of_results_resolve() -> None:
    pages = [PROJECT / README, *(PROJECT / "docs").rglob("*.md")]
    links = [(page, path, anchor) for page in pages for path, anchor in
             re.findall(r"\]\(([^)#\s]*\.md)#([^)\s]+)\)", page.read_text())]
    records = [(page, path, anchor) for page, path, anchor in links
               if (page.parent / path).resolve().parent == PROJECT / RESULTS and anchor.startswith("streets_")]
    assert len(records) > 30
    for page, path, anchor in records:
        assert f'\n<a id="{anchor}"></a>\n\n## ' in (page.parent / path).read_text(), f"{page.name}: {path}#{anchor}"


def test_page_names_classes_that_a_domain_lacks(project: Path) -> None:
    path = next((project / "data/07_model_output").rglob("benchmark_records.csv/v1/*"))
    assert main(["--record", "streets"], project) == 0
    assert "classes scored" not in (project / PAGE).read_text()
    lacking = {"daytime_clear": "2 of 2", "fog": "1 of 2 (no bus)", "night": "2 of 2"}
    grid().assign(classes_scored=grid()["domain"].map(lacking)).to_csv(path, index=False)
    assert main(["--record", "streets"], project) == 0
    assert "is left out of its score; classes scored: fog 1 of 2 (no bus).\n" in (project / PAGE).read_text()


def test_records_become_pages(project: Path) -> None:
    assert main(["--record", "streets"], project) == 0
    page, readme = (project / PAGE).read_text(), (project / README).read_text()
    for text in ('<a id="streets"></a>\n\n## Streets\n', "300 steps of 6 images", "selected by source_val", "3 seeds",
                 "0123456789ab", "a processor, 2 cores", "torch 2.11", "10.1 (×1.01)", "1,010 (+1.00 %)", "640", "900",
                 "uda †",
                 "naive, drsf, uda (the diffusion model).",
                 '`{"drsf": {"stage": 2}}`', "../images/results_streets.png"):
        assert text in page, text
    row = next(line for line in page.splitlines() if line.startswith("| drsf |"))
    assert "+5.1 [+4.9, +5.2] | <0.001" in row  # 5 + 0.05 s over ERM: 5.05 ± 4.30 · 0.05 / √3
    assert "+2.5 [+2.5, +2.6] | <0.001" in row  # half of that over naive mixing
    assert readme.startswith(f"# Title\n\n{BEGIN}\nMean over the two unseen domains, in percent:\n\n"
                             "| method | detection, mAP@50 |")
    assert "| drsf | 40.6 ± 1.4 |\n" in readme  # (40 + 10 + s · 1.1 + 30) / 2; 4.30 · 0.55 / √3
    assert "| gain of drsf over naive | +2.5 [+2.5, +2.6] |\n" in readme
    assert "Trained on `daytime_clear` alone (300 steps of 6 images), selected by source_val." in readme
    assert "seeds (3)" in readme
    assert "(docs/results/index.md)" in readme
    assert readme.endswith(f"{END}\nrest\n")
    assert "old" not in readme
    assert "[Streets](detection.md#streets)" in (project / INDEX).read_text()
    assert "No record is superseded" in (project / ARCHIVE).read_text()
    assert "| uda" not in readme  # the README shows the headline rows only
    assert (project / "docs/images/results_streets.png").stat().st_size > 10_000
    assert render(project) == {PAGE: page, README: readme, INDEX: (project / INDEX).read_text(),
                               ARCHIVE: (project / ARCHIVE).read_text()}


def test_photographs_have_a_page_and_a_row_in_the_readme(project: Path) -> None:
    for name, facts in {"photos": {"data": {"root": "data/01_raw/photos"}, "evaluation": {"groups": {"both": [
            "fog", "night"]}}}, "rendered": {"data": {"root": "data/01_raw/streets"}}}.items():
        (project / RECORDS).mkdir(parents=True, exist_ok=True)
        grid().to_csv(project / RECORDS / f"{name}.csv", index=False)
        text = json.dumps(FACTS | {"parameters": FACTS["parameters"] | facts})
        (project / RECORDS / f"{name}.json").write_text(text)
    pages = render(project)
    assert "## Photos" in pages[PHOTOGRAPHS]
    assert re.search(r"\| method \| unseen mean \| gain over erm \|.*\| daytime clear \| fog \| night \| both \|",
                     pages[PHOTOGRAPHS])
    assert "rendered" not in pages[PHOTOGRAPHS].replace("*rendered* streets", "")
    assert "## Photos" not in pages[PAGE]
    assert "## Rendered" in pages[PAGE]
    assert "| record | erm | mixstyle | naive | drsf | gain of drsf over erm | seeds |\n" in pages[README]
    assert "| photos: detection, mAP@50 | 35.5 ± 1.2 | – | 38.0" in pages[README]


def test_leave_one_out_records_have_sources_of_their_own(project: Path) -> None:
    folds = pd.concat([grid().assign(source=source) for source in ("a+b", "b+c")]).drop_duplicates(
        ["method", "seed", "domain"])
    folds.loc[folds["domain"] == "fog", "source"] = "b+c"
    facts = FACTS | {"pipeline": "leave_one_out", "environment": "pacs_small",
                     "parameters": FACTS["parameters"] | {"data": {"root": "data/01_raw/pacs"}}}
    for end, write in {"records.csv": lambda p: folds.to_csv(p, index=False),
                       "facts.json": lambda p: p.write_text(json.dumps(facts))}.items():
        path = project / "data/07_model_output" / f"left_out_{end}" / "v1" / f"left_out_{end}"
        path.parent.mkdir(parents=True)
        write(path)
    assert main(["--record", "pacs", "--of", "leave_one_out"], project) == 0
    page = (project / PHOTOGRAPHS).read_text()
    assert "Detection, trained on the other domains, scored" in page
    assert "Made by `kedro run --env=pacs_small --pipeline=leave_one_out`" in page


def test_speed_becomes_a_table_of_performance(project: Path) -> None:
    made = {"case": "detection", "threads": 1, "commit": "abc1234", "hardware": "x86_64, 2 cores, 24 GiB",
            "torch": "2.9", "torchvision": "0.24", "diffusers": "0.35"}
    ours = {**made, "variant": "ours", "ratio": 1.0, "low": 1.0, "high": 1.0}
    rows = [{**ours, "seconds": seconds} for seconds in (9, 1)]
    rows.append({**made, "variant": "torchvision", "seconds": 2, "ratio": 2.0, "low": 1.8, "high": 2.1})
    (project / SPEED).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(project / SPEED, index=False)
    (project / PERFORMANCE).parent.mkdir(exist_ok=True)
    (project / PERFORMANCE).write_text(f"# Speed\n{BEGIN}\n{END}\n")
    page = render(project)[PERFORMANCE]
    assert "| detection, one training step | 1 | ours | 1.000 | 1 |" in page, "the last measurement counts"
    assert "| detection, one training step | 1 | torchvision's reference loop | 2.000 | 2.00 [1.80, 2.10] |" in page
    assert "commit abc1234, x86_64, 2 cores, 24 GiB" in page


def test_label_precision_becomes_a_table_of_diga(project: Path) -> None:
    sides = {"labels_of": "diga_warmup", "features_of": "diga", "coverage": 0.8, "n_images": 160}
    rules = {"consensus": 0.8, "equal": 0.7, "teacher": 0.9, "threshold": 0.95}
    rows = [{"seed": seed, "rule": rule, "precision": precision + (0.01 * seed if rule == "consensus" else 0), **sides}
            for seed in range(3) for rule, precision in rules.items()]
    (project / RECORDS).mkdir(parents=True)
    pd.DataFrame(rows).to_csv(project / LABELS, index=False)
    (project / DIGA).parent.mkdir(parents=True)
    (project / DIGA).write_text(f"# DiGA\n{BEGIN}\nold\n{END}\nrest\n")
    page = render(project)[DIGA]
    assert "| DiGA warmup | DiGA | 80.0 | 81.0 | 70.0 | +11.0 [+8.5, +13.5] | 90.0 |" in page  # 4.30 · 1 / √3
    assert "Means of 3 seeds" in page
    assert "160 test images" in page
    assert "old" not in page
    (project / DIGA).write_text("# DiGA\n")
    with pytest.raises(DataError, match=r"diga\.md needs the lines"):
        render(project)


def test_readme_table_has_a_column_per_task(project: Path) -> None:
    assert main(["--record", "streets"], project) == 0
    csv = project / RECORDS / "streets.csv"
    table = pd.read_csv(csv)
    others = {"a_classification": table.replace({"metric": {"mAP@50": "accuracy"}}).assign(task="classification"),
              "baselines": table[table["method"] != "drsf"],
              "streets_once_more": table, "streets_longer": table.assign(max_steps=900)}
    for name, rows in others.items():
        rows.to_csv(project / RECORDS / f"{name}.csv", index=False)
        (project / RECORDS / f"{name}.json").write_text(csv.with_suffix(".json").read_text())
    assert main([], project) == 0
    readme = (project / README).read_text()
    assert readme.count("| method |") == 1
    assert "| method | detection, mAP@50 | classification, accuracy |\n" in readme
    assert readme.count("| drsf | 40.6 ± 1.4 | 40.6 ± 1.4 |\n") == 1
    assert "(300 steps of 6 images, 300 of 6)" in readme
    assert "900" not in readme, "the first of several benchmarks of a task"
    assert "900 steps of 6 images" in (project / PAGE).read_text()


def test_earlier_mixing_goes_to_the_archive(project: Path) -> None:
    assert main(["--record", "streets"], project) == 0
    csv = project / RECORDS / "streets.csv"
    (project / RECORDS / "older.csv").write_text(csv.read_text())
    (project / RECORDS / "older.json").write_text(json.dumps(FACTS | {"parameters": {"training": {"max_steps": 900}}}))
    assert main([], project) == 0
    archive, page = (project / ARCHIVE).read_text(), (project / PAGE).read_text()
    assert "## Older\n" in archive
    assert "draw every source and every pseudo image equally often" in archive
    assert "## Older\n" not in page
    assert "## Streets\n" in page
    assert "## Streets\n" not in archive
    assert "[Older](archive.md#older)" in (project / INDEX).read_text()
    assert (project / "docs/images/results_older.png").is_file()


def test_record_of_a_run_that_is_not_the_newest(project: Path, caplog: Any) -> None:
    later(project, grid().assign(task="segmentation"), "v2")
    with caplog.at_level("INFO"):
        assert main(["--record", "streets", "--run", "v1"], project) == 0
    assert "run v1: detection, source daytime_clear, 4 rows, 3 seeds" in caplog.text
    assert set(pd.read_csv(project / RECORDS / "streets.csv")["task"]) == {"detection"}


def test_pages_without_records(project: Path) -> None:
    pd.DataFrame({"images": [1], "seconds": [2.0]}).to_csv(project / "timings.csv")  # another kind of table
    (project / RECORDS).mkdir(parents=True)
    (project / "timings.csv").rename(project / RECORDS / "timings.csv")
    assert main([], project) == 0
    assert "No record file is committed yet" in (project / INDEX).read_text()
    assert "No benchmark is recorded yet" in (project / README).read_text()


def _break(project: Path, what: str) -> None:
    folder = project / "data/07_model_output"
    csv = project / RECORDS / "streets.csv"
    if what == "never run":
        (folder / "benchmark_facts.json/v1/benchmark_facts.json").unlink()
    elif what == "cut off":
        newer = folder / "benchmark_records.csv/v2/benchmark_records.csv"
        newer.parent.mkdir()
        grid().to_csv(newer, index=False)
    elif what == "another task":
        later(project, grid().assign(task="segmentation"), "v2")
    elif what == "no facts":
        csv.with_suffix(".json").unlink()
    elif what == "two tasks":
        table = pd.read_csv(csv)
        pd.concat([table, table.assign(task="segmentation")]).to_csv(csv, index=False)


@pytest.mark.parametrize(("what", "again", "message"), [
    ("never run", ["--record", "other"], "run `kedro run --pipeline=benchmark` first"),
    ("cut off", ["--record", "other"], "the last run did not end"),
    ("another task", ["--record", "streets"], "has the task 'detection', run v2 has 'segmentation': name the run"),
    ("never run", ["--record", "other", "--run", "v7"], "there are no records of run v7"),
    ("no facts", [], "has no 'streets.json' next to it"),
    ("two tasks", [], "several values of 'task'"),
])
def test_unusable_records_are_refused(project: Path, caplog: Any, what: str, again: list[str], message: str) -> None:
    assert main(["--record", "streets"], project) == 0
    before = (project / PAGE).read_text()
    _break(project, what)
    assert main(again, project) == 1
    assert message in caplog.text
    assert (project / PAGE).read_text() == before


def test_images_of_an_earlier_model_are_named(project: Path) -> None:
    assert main(["--record", "streets"], project) == 0
    shipped = project / "data/06_models/tiny_ldm/unet/diffusion_pytorch_model.safetensors"
    shipped.parent.mkdir(parents=True)
    shipped.write_bytes(b"weights")
    now, embedded, other = weights_hash(shipped.parents[1]), "data/06_models/tiny_ldm", "stabilityai/some-model"
    for known, checkpoint, earlier in (("", embedded, True), (now, embedded, False), ("", other, False)):
        facts = FACTS | {"parameters": FACTS["parameters"] | {"ldm": {"checkpoint": checkpoint}}, "generator": known}
        (project / RECORDS / "streets.json").write_text(json.dumps(facts))
        assert main([], project) == 0
        said = "of the embedded diffusion model **before** its [critic's stage](../tiny_ldm.md)"
        assert (said in (project / ARCHIVE).read_text()) is earlier
        assert said not in (project / PAGE).read_text()
        assert ("## Streets\n" in (project / ARCHIVE).read_text()) is earlier
        assert ("## Streets\n" in (project / PAGE).read_text()) is not earlier
        said = "pseudo images of detection made before the diffusion model had its [critic's stage]"
        assert (said in (project / README).read_text()) is earlier


def test_readme_needs_its_markers() -> None:
    with pytest.raises(DataError, match="results:begin"):
        with_block("# Title\n", "table")
