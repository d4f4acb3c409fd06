"""``python -m dg_project`` is ``kedro run`` of this project."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the project's pipelines with the options of ``kedro run``."""
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    package = Path(__file__).parent.name
    configure_project(package)
    find_run_command(package)(sys.argv[1:])


if __name__ == "__main__":
    main()
