"""Every notebook runs from the first cell to the last, and is stored without outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
FORGET = "%reset -f\nimport matplotlib.pyplot\nmatplotlib.pyplot.close('all')\ndel matplotlib"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookClient]:
    """One kernel for all notebooks: importing torch once per notebook takes a third of their time."""
    path = os.pathsep.join([str(PROJECT / "src"), os.environ.get("PYTHONPATH", "")])
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=600,
                            resources={"metadata": {"path": str(PROJECT / "notebooks")}})
    with client.setup_kernel(env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "agg",
                                  "TMPDIR": str(tmp_path_factory.mktemp("notebooks"))}):
        yield client


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs(path: Path, kernel: NotebookClient) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code), "strip the outputs"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FORGET))  # variables and figures of the one before
    kernel.nb = notebook
    kernel.execute(cleanup_kc=False)
    assert any(cell.outputs for cell in code)
