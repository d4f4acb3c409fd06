"""Write the report: one page that opens from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.core.provenance import versions
from dg_project.data.card import format_card
from dg_project.pipelines.reporting.card import ONE_SEED, RENDERED

_LIMITS = [ONE_SEED, RENDERED]
_ALT = {
    "domain_chart": ("Scores by domain", "Bars of each method's score in the source, each target and their mean."),
    "prediction_panels": ("Same scenes, every weather", "What each model finds in the same scenes in all domains."),
    "class_gains": ("Gains by class", "Difference between method and baseline in each class and domain, as colours."),
    "hardest_images": ("Hardest images", "The images with the lowest score of their own in each domain."),
    "hard_samples": ("Hard samples", "The training crops with the largest cross-entropy next to the easiest ones."),
    "label_precision": ("Pseudo labels", "Precision over coverage of labels by consensus and by confidence."),
    "allocation_chart": ("The closed loop", "Difficulty of each pseudo domain by round, and its share of the images."),
    "pseudo_sheet": ("Pseudo domains", "Source images next to the images generated from them."),
    "feature_shift": ("Feature shift", "Source, pseudo and target images as points in each model's feature space."),
    "gate_maps": ("Channels and gates", "Feature maps, channel entropies and gates in several versions of a scene."),
    "contact_sheet": ("Images and labels", "A few images of every domain with the labels that were ingested."),
    "loss_curves": ("Training", "Losses of each model by training step."),
}


def write_report(results: pd.DataFrame, class_scores: pd.DataFrame, intervals: pd.DataFrame, gains: pd.DataFrame,
                 data_card: dict[str, Any], parameters: dict[str, Any], run_id: str, model_card: str,
                 **figures: Path) -> str:
    """Return the page as HTML, with the figures embedded.

    Args:
        results: records of all methods.
        class_scores: scores by class, with the column ``method``.
        intervals: scores with ``low`` and ``high``.
        gains: differences between methods.
        data_card: counts of the ingested images and boxes.
        parameters: all parameters as they were given.
        run_id: version of the run.
        model_card: the model's domain-robustness card as Markdown.
        figures: path of each figure, by name.
    """
    from dg_project.evaluation.records import with_intervals
    from dg_project.figures.style import method_label
    from dg_project.reports.model_card import card_as_html
    from dg_project.reports.run_page import Picture, Report, render_report

    methods = list(dict.fromkeys(results["method"]))
    return render_report(Report(
        title=_title([method_label(name) for name in methods]),
        summary=_summary(results, parameters, methods), facts=_facts(results, parameters, run_id),
        records=with_intervals(results, intervals), differences=gains,
        interval_note="95% bootstrap interval over test scenes", data_card=format_card(data_card),
        pictures=[Picture(_ALT[name][0], figures[name], _ALT[name][1]) for name in _ALT if name in figures],
        per_class=_per_class(class_scores), parameters=parameters,
        versions=versions(), limits=_LIMITS, card=card_as_html(model_card)))


def _title(labels: list[str]) -> str:
    *others, method = labels
    return f"{method}{' against ' if others else ''}{' and '.join(others)} in unseen weather"


def _summary(results: pd.DataFrame, parameters: dict[str, Any], methods: list[str]) -> str:
    from dg_project.figures.style import method_label

    data, training = parameters["data"], parameters["training"]
    *others, last = [method_label(name) for name in methods]
    named = f"{', '.join(others)} and {last}" if others else last
    text = (f"{named} trained for {training['max_steps']} steps of "
            f"{training['images_per_step']} images on '{data['source']}' and scored on test images of "
            f"{len(data['targets'])} domains")
    adapted = list(dict.fromkeys(results.loc[results["setting"] == "UDA", "method"]))
    if not adapted:
        return text + " that no training saw."
    return text + (f", of which {' and '.join(method_label(m) for m in adapted)} saw other, unlabelled images in "
                   f"training ({training['adapt_per_step']} more per step): UDA, not domain generalization.")


def _facts(results: pd.DataFrame, parameters: dict[str, Any], run_id: str) -> dict[str, str]:
    seconds = results.groupby("method", sort=False)["seconds_per_step"].first()
    return {
        "run": run_id, "task": parameters["task"], "source": parameters["data"]["source"],
        "pseudo domains": ", ".join(parameters["synthesis"]["domains"]), "seed": str(parameters["seed"]),
        "backbone": parameters["backbone"]["name"],
        "seconds per step": ", ".join(f"{method} {value:.2f}" for method, value in seconds.items()),
    }


def _per_class(class_scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    from dg_project.evaluation.scorer import per_class_table

    return {f"{method}, {metric}": per_class_table(rows, str(metric))
            for (method, metric), rows in class_scores.groupby(["method", "metric"], sort=False)}
