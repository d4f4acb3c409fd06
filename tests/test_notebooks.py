"""Every notebook runs quietly from the first cell to the last, and is stored without outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from models_fixture import save_tiny
from nbclient import NotebookClient

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
FORGET = "%reset -f\nimport matplotlib.pyplot\nmatplotlib.pyplot.close('all')\ndel matplotlib"
SMALLER = {"bring_your_data": {"STEPS = 300": "STEPS = 4"},
           "compare_runs": {'PROJECT / "mlflow.db"': 'PROJECT / "none.db"'}}
"""Notebook -> what is replaced in its code, so that a test is short and takes nothing from this machine's runs."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookClient]:
    """One kernel for all notebooks: importing torch once per notebook takes a third of their time."""
    path = os.pathsep.join([str(PROJECT / "src"), os.environ.get("PYTHONPATH", "")])
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=600,
                            resources={"metadata": {"path": str(PROJECT / "notebooks")}})
    with client.setup_kernel(env={**os.environ, "PYTHONPATH": path,
                                  "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                                  "TMPDIR": str(tmp_path_factory.mktemp("notebooks"))}):
        yield client


def run(name: str, kernel: NotebookClient, replaced: dict[str, str]) -> tuple[str, int]:
    """Return what a notebook prints and shows as text, and the number of its pictures."""
    notebook = nbformat.read(PROJECT / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code), "strip the outputs"
    for old, new in replaced.items():
        [cell] = [cell for cell in code if old in cell.source]
        cell.source = cell.source.replace(old, new)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FORGET))  # variables and figures of the one before
    kernel.nb = notebook
    kernel.execute(cleanup_kc=False)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    shown = [output.get("data", {}) for output in outputs]
    assert not [data for data in shown if "<Figure" in data.get("text/plain", "") and "image/png" not in data]
    texts = [output.get("text", "") or data.get("text/plain", "") for output, data in zip(outputs, shown, strict=True)]
    return "\n".join(texts), sum("image/png" in data for data in shown)


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS if path.stem != "look_at_the_model"])
def test_a_notebook_runs(name: str, kernel: NotebookClient) -> None:
    text, pictures = run(name, kernel, SMALLER.get(name, {}))
    assert text
    assert pictures


def test_the_trained_model_is_shown(kernel: NotebookClient, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    save_tiny(tmp_path / "model", "detection")
    text, pictures = run("look_at_the_model", kernel, {
        'PROJECT / "data" / "06_models" / "model"': f"Path({str(tmp_path)!r})"})
    assert "drsf" in text
    assert pictures == 1


def test_tracked_runs_are_compared(kernel: NotebookClient, tmp_path: Path) -> None:
    store = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = store.create_experiment("dg_project", artifact_location=tmp_path.as_uri())
    for seed, score in enumerate((0.30, 0.34)):
        made = store.create_run(experiment, run_name=f"drsf s{seed}").info.run_id
        child = store.create_run(experiment, tags={"mlflow.parentRunId": made}, run_name="drsf").info.run_id
        scores = {"mAP50/fog": score, "mAP50/unseen_mean": score, "baseline/mAP50/fog": 0.2,
                  "baseline/mAP50/unseen_mean": 0.2, "gain/mAP50/unseen_mean": score - 0.2}
        store.log_batch(made, metrics=[Metric(name, value, 0, 0) for name, value in scores.items()],
                        params=[Param("method", "drsf"), Param("seed", str(seed))])
        store.log_metric(child, "train/loss", 1.5, step=1)
        for one in (made, child):
            store.set_terminated(one)
    text, pictures = run("compare_runs", kernel, {'PROJECT / "mlflow.db"': f"Path({str(tmp_path / 'mlflow.db')!r})"})
    assert "2 runs of mlflow.db" in text
    assert "12.0" in text  # the mean of 10 and 14
    assert pictures == 2
