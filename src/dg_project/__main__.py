"""``dg_project COMMAND ...``, or ``dg_project [options of kedro run]``; also ``python -m dg_project``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

COMMANDS = {
    "predict": "dg_project.predict.command",
    "demo": "dg_project.demo.command",
    "mlflow": "dg_project.hooks.mlflow.pages",
}
"""Commands and the modules of their ``main``. Everything else is ``kedro run`` of this project."""


def main() -> None:
    """Run a command, or the project's pipelines with the options of ``kedro run``."""
    name, *arguments = sys.argv[1:] or [""]
    if name in COMMANDS:
        raise SystemExit(importlib.import_module(COMMANDS[name]).main(arguments))
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    package = Path(__file__).parent.name
    configure_project(package)
    find_run_command(package)(sys.argv[1:])


if __name__ == "__main__":
    main()
