"""Look for objects in pseudo images with the source-trained model, and choose the gate's threshold."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.config import DataParams, GateCalibrationParams, SamplingParams, Settings
from dg_project.data.origin import check_pairs
from dg_project.pipelines.figure import Figure

logger = logging.getLogger(__name__)


def find_boxes(model: Path, source: pd.DataFrame, pseudo_images: Path, pseudo: pd.DataFrame,
               settings: Settings) -> pd.DataFrame:
    """Return the boxes that the model finds in the source images, and whether it finds them in the pseudo images."""
    from dg_project.experiments.gate_calibration import boxes_found_again

    check_pairs(pseudo, source)
    return boxes_found_again(model, source, pseudo, pseudo_images, settings, settings.gate_calibration)


def choose(boxes: pd.DataFrame, params: GateCalibrationParams, sampling: SamplingParams) -> dict[str, Any]:
    """Return the visibility that the gate should ask for, and log it."""
    from dg_project.experiments.gate_calibration import choose_visibility

    choice = choose_visibility(boxes, params.share)
    logger.info("the model finds %s of the boxes with a visibility below %.2f again, %s of the others and %s of the "
                "most visible. Set sampling.gate.min_visibility: %.2f (this run: %.2f)",
                _percent(choice["found_below"]), choice["min_visibility"], _percent(choice["found_above"]),
                _percent(choice["found_best"]), choice["min_visibility"], sampling.gate.min_visibility)
    return choice


def draw_chart(boxes: pd.DataFrame, choice: dict[str, Any], sampling: SamplingParams) -> Figure:
    """Draw the share of boxes found again by visibility, the chosen threshold and that of the run."""
    from dg_project.experiments.gate_calibration import fitted_share
    from dg_project.figures.gate_calibration import gate_chart

    return gate_chart(boxes, fitted_share(boxes), choice, sampling.gate.min_visibility)


def draw_sheet(boxes: pd.DataFrame, choice: dict[str, Any], data: DataParams, pseudo_images: Path) -> Figure:
    """Draw boxes with a visibility near the threshold, in their source and in their pseudo image."""
    from dg_project.figures.gate_calibration import borderline_sheet

    return borderline_sheet(boxes, choice["min_visibility"], Path(data.root), pseudo_images, data.classes)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"
