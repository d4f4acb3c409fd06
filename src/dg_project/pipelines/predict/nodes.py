"""A trained model looks at images or at a video that nobody labelled."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from dg_project.config import LDMParams, PredictParams
from dg_project.core.errors import ParameterError
from dg_project.core.files import FolderWriter

logger = logging.getLogger(__name__)


def predict_input(model: Path, params: PredictParams, workspace: str, device: str,
                  ldm: LDMParams) -> tuple[FolderWriter, dict[str, Any]]:
    """Predict what ``predict.input`` names; return a writer of the outputs' folder, and counts."""
    from dg_project.predict.inputs import open_source
    from dg_project.predict.prediction import predict_source
    from dg_project.predict.writing import summary, write_predictions

    if params.input is None:
        raise ParameterError("predict.input: say what to look at, a folder of images, a .txt that lists images, or a "
                             "video: kedro run --pipeline=predict --params predict.input=PATH")
    source = open_source(Path(params.input), params.every)
    predicted = predict_source(model, source, params, device, Path(workspace), ldm)
    counts = summary(predicted)
    logger.info("%d images seen, %d skipped, nothing found in %d; found: %s", counts["images"] - counts["skipped"],
                counts["skipped"], counts["images_without_finds"], counts["found"] or "nothing")
    for problem in counts["problems"]:
        logger.warning("skipped: %s", problem)

    def write(target: Path) -> None:
        write_predictions(predicted, target)

    return write, counts
