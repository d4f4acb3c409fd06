"""Build the site: run the notebooks and draw the pipelines if code has changed, then make the pages.

``make docs``, or ``python tools/docs --quick`` for the pages alone, with what was made before.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from notebook_pages import run_notebooks
from pipeline_graph import draw_pipelines

PROJECT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Build the site; only warnings and errors are printed."""
    parser = argparse.ArgumentParser(prog="make docs", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="run no notebook and draw no pipeline")
    parser.add_argument("--out", default="site", help="folder of the site")
    chosen = parser.parse_args()
    if not chosen.quick:
        run_notebooks(PROJECT)
        draw_pipelines(PROJECT)
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # the theme's notice about another project
    os.chdir(PROJECT)
    from mkdocs.__main__ import cli

    cli(["build", "-q", "-d", chosen.out])  # ends the process, with 1 after a warning


if __name__ == "__main__":
    main()
