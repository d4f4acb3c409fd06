"""Results, predictions, histories and manifests -> figures, tables and one page."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.reporting import card, diga, insights, nodes, page, scmd

_PAGE = {name: name for name in ("results", "class_scores", "intervals", "gains", "data_card", "parameters",
                                 "domain_chart", "prediction_panels", "loss_curves", "model_card", "contact_sheet",
                                 "scenes", "errors")}
_PAGE |= {"run_id": "params:run_id", "run_facts": "params:run_facts"}
_MANIFESTS = ["source_manifest", "target_manifest"]
_PREDICTED = ["predictions", *_MANIFESTS, "params:settings"]
_IMAGES = [*_MANIFESTS, "params:data.root", "pseudo_manifest", "pseudo_images"]
_INSIGHTS = ("pseudo_sheet", "class_gains", "hardest_images", "feature_shift", "gate_maps")


def create_pipeline(*figures: str, naive: bool = False) -> Pipeline:
    """Report a method next to the baseline.

    Args:
        figures: further figures that the page shows.
        naive: whether naive mixing was trained as well.
    """
    return _reporting(
        *_scores(), _losses("baseline_", *(["naive_"] if naive else []), ""),
        Node(nodes.draw_pseudo_domains, ["source_manifest", "params:data.root", "pseudo_manifest", "pseudo_images"],
             "pseudo_sheet", name="draw_pseudo_domains"),
        Node(insights.draw_feature_shift,
             ["model", "baseline_model", "results", *_IMAGES, "params:reporting", "params:training.device"],
             "feature_shift", name="draw_feature_shift", tags="gpu"),
        Node(insights.draw_gates, ["model", *_IMAGES, "params:training.device"], "gate_maps", name="draw_gates",
             tags="gpu"),
        Node(insights.draw_class_gains, "class_scores", "class_gains", name="draw_class_gains"),
        Node(insights.draw_hardest, _PREDICTED, "hardest_images", name="draw_hardest"),
        _page(*_INSIGHTS, *figures),
    )


def create_erm_pipeline() -> Pipeline:
    """Report one model that saw no pseudo domains."""
    return _reporting(*_scores(), _losses(""), _page())


def create_closed_loop_pipeline() -> Pipeline:
    """Report the closed loop: the pseudo domains are those of its last round."""
    report = Pipeline(create_pipeline("allocation_chart"),
                      inputs={"pseudo_manifest": "closed_loop_manifest", "pseudo_images": "closed_loop_rounds"})
    return report + _reporting(Node(nodes.draw_allocation, "allocation", "allocation_chart", name="draw_allocation"))


def create_scmd_pipeline() -> Pipeline:
    """Report SCMD next to ERM and next to its teacher, without pseudo domains."""
    return _reporting(
        *_scores(), _losses("baseline_", ""),
        Node(scmd.score_teacher, [*_MANIFESTS, "params:settings", "params:scmd", "params:run_id"],
             ["teacher_results", "teacher_scores"], name="score_teacher", tags="gpu"),
        Node(scmd.draw_hard_samples, ["model", "source_manifest", "params:settings", "params:scmd"], "hard_samples",
             name="draw_hard_samples", tags="gpu"),
        _page("hard_samples"),
    )


def create_diga_pipeline() -> Pipeline:
    """Report DiGA next to its warm-up, with the quality of its pseudo labels."""
    return create_pipeline("label_precision") + _reporting(
        Node(diga.measure_labels, ["model", "baseline_model", "results", "adapt_manifest", "target_manifest",
                                   "params:settings", "params:diga"], "label_quality", name="measure_labels"),
        Node(diga.draw_label_precision, ["label_quality", "target_manifest", "params:reporting"], "label_precision",
             name="draw_label_precision"),
    )


def _reporting(*parts: Node) -> Pipeline:
    return Pipeline(parts, namespace="reporting", prefix_datasets_with_namespace=False)


def _scores() -> list[Node]:
    return [
        Node(nodes.make_table, "results", "results_table", name="make_table"),
        Node(nodes.estimate_intervals, _PREDICTED, ["intervals", "gains"],
             name="estimate_intervals"),
        Node(nodes.draw_domains, ["intervals", "gains", "params:data"], "domain_chart", name="draw_domains"),
        Node(card.write_card, ["model", "results", "intervals", "data_card", "params:settings", "params:run_id"],
             "model_card", name="write_card"),
        Node(nodes.draw_panels, _PREDICTED, "prediction_panels", name="draw_panels"),
        Node(nodes.draw_scenes, _PREDICTED, "scenes", name="draw_scenes"),
        Node(nodes.measure_errors, _PREDICTED, "errors", name="measure_errors"),
    ]


def _losses(*models: str) -> Node:
    """Return the node for the models whose names have these prefixes, in the order of the results."""
    inputs = ["results", *(f"{name}history" for name in models), *(f"{name}model" for name in models)]
    return Node(nodes.draw_losses, inputs, "loss_curves", name="draw_losses")


def _page(*figures: str) -> Node:
    return Node(page.write_report, _PAGE | {name: name for name in figures}, "report", name="write_report")
