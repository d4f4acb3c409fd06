"""The notebooks as pages: run where they or the code have changed, and written as Markdown."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
from made import fingerprint, kept_in
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

from dg_project.core.files import atomic_file

KEY = "dg_project_docs"
_STYLE = re.compile(r"<style scoped>.*?</style>\n", flags=re.DOTALL)
_TABLE = re.compile(r'<table border="1" class="dataframe">')


def run_notebooks(project: Path) -> None:
    """Execute every notebook whose executed copy is older than the notebook or the package."""
    for path in sorted((project / "notebooks").glob("*.ipynb")):
        copy, key = executed_copy(project, path.stem), fingerprint(project, path)
        if copy.is_file() and nbformat.read(copy, as_version=4).metadata.get(KEY) == key:
            continue
        notebook = nbformat.read(path, as_version=4)
        _execute(notebook, project)
        notebook.metadata[KEY] = key
        with atomic_file(copy) as aside:
            nbformat.write(notebook, aside)


def executed_copy(project: Path, stem: str) -> Path:
    """Return where the executed copy of a notebook is kept."""
    return kept_in(project) / "notebooks" / f"{stem}.ipynb"


def as_markdown(project: Path, path: Path) -> tuple[str, dict[str, bytes]]:
    """Return the page of a notebook and its pictures by name; without outputs where it was not executed."""
    copy = executed_copy(project, path.stem)
    shown = copy if copy.is_file() else path
    text, more = MarkdownExporter().from_filename(str(shown), {"unique_key": path.stem})
    text = _TABLE.sub("<table>", _STYLE.sub("", text))
    if shown == path:
        text += f"\n\n*Not executed: `make docs` runs it, `make notebook` opens `notebooks/{path.name}`.*\n"
    return text, more["outputs"]


def _execute(notebook: nbformat.NotebookNode, project: Path) -> None:
    path = os.pathsep.join(filter(None, [str(project / "src"), os.environ.get("PYTHONPATH")]))
    client = NotebookClient(notebook, timeout=1800, extra_arguments=["--log-level=ERROR"],
                            resources={"metadata": {"path": str(project / "notebooks")}})
    client.execute(env={**os.environ, "PYTHONPATH": path})
