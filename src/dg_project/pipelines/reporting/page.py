"""Write the report: one page that opens from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from dg_project.core.provenance import versions
from dg_project.pipelines.reporting.card import ONE_SEED, RENDERED

_LIMITS = [ONE_SEED, RENDERED]
_FOLDED = {"prediction_panels", "hardest_images", "class_gains", "gate_maps", "feature_shift"}
_FIGURES = {
    "domain_chart": ("results", "Scores by domain", "Each method's score in the source, each target and their mean."),
    "class_gains": ("results", "Gains by class", "Gain of the method over the baseline in each class and domain."),
    "prediction_panels": ("domains", "More scenes", "What each model finds in the same scenes in all domains."),
    "hardest_images": ("domains", "Hardest images", "The images with the lowest score of their own in each domain."),
    "loss_curves": ("training", "Training", "Validation and losses of each model by training step."),
    "label_precision": ("training", "Pseudo labels", "Precision over coverage of labels by consensus and confidence."),
    "hard_samples": ("training", "Hard samples", "The training crops with the largest cross-entropy."),
    "allocation_chart": ("training", "The closed loop", "Difficulty and share of each pseudo domain by round."),
    "contact_sheet": ("data", "Images and labels", "A few images of every domain with the labels that were ingested."),
    "pseudo_sheet": ("data", "Pseudo domains", "Source images next to the images generated from them."),
    "feature_shift": ("curious", "Feature shift", "Images of all domains as points in each model's feature space."),
    "gate_maps": ("curious", "Channels and gates", "Feature maps, channel entropies and gates of a scene."),
}
_BOXES = ("Confusion matrices: detections with a score of at least {score:g}, share of each labelled class in percent. "
          "Background: in the column missed objects, in the row the number of detections where no object is. Precision "
          "over recall: all scores, IoU .5, mean over the classes.")
_COUNTED = {
    "classification": "Confusion matrices: share of each labelled class in percent.",
    "segmentation": "Confusion matrices: share of each class's labelled pixels in percent.",
}


def write_report(results: pd.DataFrame, class_scores: pd.DataFrame, intervals: pd.DataFrame, gains: pd.DataFrame,
                 data_card: dict[str, Any], parameters: dict[str, Any], run_id: str, run_facts: dict[str, Any],
                 model_card: str, scenes: Path, errors: dict[str, Any], **figures: Path) -> str:
    """Return the page as HTML, with the figures embedded.

    Args:
        results: records of all methods.
        class_scores: scores by class, with the column ``method``.
        intervals: scores with ``low`` and ``high``.
        gains: differences between methods.
        data_card: counts of the ingested images and boxes.
        parameters: all parameters as they were given.
        run_id: version of the run.
        run_facts: its command, the parameters that it changed, the groups that it read, and where its artifacts are.
        model_card: the model's domain-robustness card as Markdown.
        scenes: the same scene in every domain as each model sees it.
        errors: confusion matrices and precision-recall curves, from ``measure_errors``.
        figures: path of each figure, by name.
    """
    from dg_project.evaluation.records import with_intervals
    from dg_project.figures.style import method_label
    from dg_project.reports.model_card import card_as_html
    from dg_project.reports.run_page import Picture, Report, render_report
    from dg_project.reports.run_summary import by_domain

    methods = [str(name) for name in dict.fromkeys(results["method"])]
    sources = [str(name) for name in results.loc[results["role"] == "source", "domain"].unique()]
    return render_report(Report(
        title=_title([method_label(name) for name in methods]), told=by_domain(gains, sources),
        summary=_summary(results, parameters, methods), facts=_facts(results, parameters),
        records=with_intervals(results, intervals), differences=gains,
        interval_note="95% bootstrap interval over test scenes.", data_card=data_card,
        pictures=[Picture(title, figures[name], alt, section, folded=name in _FOLDED)
                  for name, (section, title, alt) in _FIGURES.items() if name in figures],
        scenes=_scenes(scenes, errors), marks=_listed(scenes)["marks"], classes=errors["classes"],
        errors_note=_COUNTED.get(parameters["task"], _BOXES.format(score=errors["score"])), task=parameters["task"],
        per_class=_per_class(class_scores), changed=run_facts.get("changed", []), parameters=parameters,
        read=[*run_facts.get("read", []), *methods], origin=_origin(results, run_id, run_facts), limits=_LIMITS,
        card=card_as_html(model_card)))


def _title(labels: list[str]) -> str:
    *others, method = labels
    return f"{method}{' against ' if others else ''}{' and '.join(others)} on unseen domains"


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


def _facts(results: pd.DataFrame, parameters: dict[str, Any]) -> list[str]:
    from dg_project.figures.style import readable

    training, generated = parameters["training"], results["images_generated"].max()
    made = f"pseudo domains: {', '.join(map(readable, parameters['synthesis']['domains']))}"
    return [readable(parameters["task"]), f"trained on {readable(parameters['data']['source'])}",
            *([made] if generated else []), f"seed {parameters['seed']}",
            f"{training['max_steps']} steps × {training['images_per_step']} images", parameters["backbone"]["name"]]


def _scenes(folder: Path, errors: dict[str, Any]) -> list[Any]:
    """Return one entry per domain, with the views that the folder lists."""
    from dg_project.reports.run_page import Scene

    views: dict[str, list[tuple[str, Path, str]]] = {}
    for view in _listed(folder)["views"]:
        views.setdefault(view["domain"], []).append((view["method"], folder / view["image"], view["says"]))
    return [Scene(domain, views.get(domain, []), own) for domain, own in errors["domains"].items()]


def _listed(folder: Path) -> dict[str, Any]:
    from dg_project.figures.scene_views import LIST

    listed: dict[str, Any] = json.loads((folder / LIST).read_text())
    return listed


def _origin(results: pd.DataFrame, run_id: str, run_facts: dict[str, Any]) -> dict[str, str]:
    from dg_project.figures.style import method_label

    seconds = results.groupby("method", sort=False)["seconds_per_step"].first()
    command = {"again": run_facts["command"]} if "command" in run_facts else {}
    return {"run": run_id, **command, **run_facts.get("places", {}),
            "seconds per step": ", ".join(f"{method_label(str(name))} {value:.2f}" for name, value in seconds.items()),
            **versions()}


def _per_class(class_scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    from dg_project.evaluation.scorer import per_class_table
    from dg_project.figures.style import method_label

    return {f"{method_label(str(method))}, {metric}": per_class_table(rows, str(metric))
            for (method, metric), rows in class_scores.groupby(["method", "metric"], sort=False)}
