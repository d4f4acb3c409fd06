"""``dg_project demo``: open the page in the browser."""

from __future__ import annotations

import argparse
import logging
import os
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dg_project.core.errors import DataError, exit_status
from dg_project.core.model_versions import MODELS, newest_model
from dg_project.core.ports import check_port

if TYPE_CHECKING:
    from dg_project.config import Settings

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run the command until it is stopped; return its exit status."""
    parser = argparse.ArgumentParser(prog="dg_project demo", description="Paint weather on a street photo and see what "
                                     "the trained models find in it, in the browser.")
    parser.add_argument("--model", type=Path, default=MODELS, metavar="DIR",
                        help=f"detector: model folder, folder of versions, or name of a shipped model (default: "
                             f"{MODELS})")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--env", default=None, help="Kedro environment of the parameters")
    parser.add_argument("--quiet", action="store_true", help="do not open the browser")
    chosen = parser.parse_args(arguments)
    return exit_status(lambda: _serve(chosen))


def _serve(chosen: argparse.Namespace) -> None:
    check_port(chosen.port, f"make demo DEMO_PORT={chosen.port + 1}")
    if not Path("conf/base").is_dir():
        raise DataError(f"'{Path.cwd()}' is not the project folder: there is no 'conf/base' in it")
    newest_model(chosen.model)
    logger.info("opening the models ...")
    settings = _settings(chosen.env)
    from dg_project.demo.server import DemoServer
    from dg_project.demo.studio import Studio

    with DemoServer(Studio(settings, chosen.model), chosen.port) as server:
        logger.info("demo     %s   (stop with Ctrl-C)", server.url)
        if not chosen.quiet:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            logger.info("stopped")


def _settings(env: str | None) -> Settings:
    """Return the parameters of the project, typed and with every path located."""
    from kedro.config import OmegaConfigLoader

    from dg_project.config.paths import ROOT_VARIABLE
    from dg_project.hooks.run_context import read_settings
    from dg_project.settings import CONFIG_LOADER_ARGS

    os.environ[ROOT_VARIABLE] = str(Path.cwd())
    options: dict[str, Any] = {**CONFIG_LOADER_ARGS}
    loader = OmegaConfigLoader(conf_source="conf", env=env, **options)
    return read_settings(dict(loader["parameters"]))
