"""``dg_project predict IMAGES...``: draw what a trained model finds in images, without a Kedro session."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from dg_project.core.errors import DataError, exit_status
from dg_project.core.model_versions import MODELS, newest_model

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="dg_project predict", description="Predict images with a trained model.")
    parser.add_argument("images", nargs="+", type=Path, help="images, folders of images, a .txt list, or one video")
    parser.add_argument("--model", type=Path, default=MODELS, metavar="DIR",
                        help=f"model folder, folder of versions (its newest one), or name of a shipped model (default: "
                             f"{MODELS})")
    parser.add_argument("--out", type=Path, default=Path("predicted"), metavar="DIR",
                        help="folder of the results (default: predicted)")
    parser.add_argument("--score", type=float, default=0.5, help="least score of a detection (default: 0.5)")
    parser.add_argument("--device", default="auto", help="torch device (default: auto)")
    chosen = parser.parse_args(arguments)
    return exit_status(lambda: _predict(chosen))


def _predict(chosen: argparse.Namespace) -> None:
    folder = newest_model(chosen.model)
    for path in chosen.images:
        if not path.exists():
            raise DataError(f"'{path}' does not exist; give images, a folder of images, or a video")
    from dg_project.methods.model_choice import describe_model, doubts
    from dg_project.predict.trained import TrainedModel

    logger.info("model    %s", describe_model(folder))
    if doubt := doubts(folder):
        logger.warning("warning  %s", doubt)
    found = TrainedModel(folder, chosen.device)(*chosen.images, score_threshold=chosen.score)
    for problem in found.summary["problems"]:
        logger.warning("skipped  %s", problem)
    counts = ", ".join(f"{number} {name}" for name, number in found.summary["found"].items())
    logger.info("found    %s in %d image(s)", counts or "nothing", len(found))
    logger.info("drawn    %s", found.drawn_in(found.save(chosen.out)))
