"""Results, predictions, histories and manifests -> figures, tables and one page."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.reporting import card, insights, nodes, page

_PAGE = {name: name for name in ("results", "class_scores", "intervals", "gains", "data_card", "parameters",
                                 "domain_chart", "prediction_panels", "loss_curves", "model_card")}
_PAGE |= {"run_id": "params:run_id"}
_MANIFESTS = ["source_manifest", "target_manifest"]
_IMAGES = [*_MANIFESTS, "params:data.root", "pseudo_manifest", "pseudo_images"]
_INSIGHTS = ("pseudo_sheet", "class_gains", "hardest_images", "feature_shift", "gate_maps")


def create_pipeline(*more: str) -> Pipeline:
    """Return the reporting of a method beside the baseline; ``more`` are further figures that the page shows."""
    figures = {name: name for name in (*_INSIGHTS, *more)}
    return Pipeline([
        *_scores(),
        Node(nodes.draw_losses, ["results", "history", "baseline_history"], "loss_curves", name="draw_losses"),
        Node(nodes.draw_pseudo_domains, ["source_manifest", "params:data.root", "pseudo_manifest", "pseudo_images"],
             "pseudo_sheet", name="draw_pseudo_domains"),
        Node(insights.draw_feature_shift,
             ["model", "baseline_model", "results", *_IMAGES, "params:reporting", "params:training.device"],
             "feature_shift", name="draw_feature_shift", tags="gpu"),
        Node(insights.draw_gates, ["model", *_IMAGES, "params:training.device"], "gate_maps", name="draw_gates",
             tags="gpu"),
        Node(insights.draw_class_gains, "class_scores", "class_gains", name="draw_class_gains"),
        Node(insights.draw_hardest, ["predictions", *_MANIFESTS, "parameters"], "hardest_images", name="draw_hardest"),
        Node(page.write_report, _PAGE | figures, "report", name="write_report"),
    ], namespace="reporting", prefix_datasets_with_namespace=False)


def create_source_pipeline(*more: str) -> Pipeline:
    """Return the reporting of a method that saw no pseudo domains, beside the baseline; ``more`` as above."""
    return Pipeline([
        *_scores(),
        Node(nodes.draw_losses, ["results", "history", "baseline_history"], "loss_curves", name="draw_losses"),
        Node(page.write_report, _PAGE | {name: name for name in more}, "report", name="write_report"),
    ], namespace="reporting", prefix_datasets_with_namespace=False)


def create_erm_pipeline() -> Pipeline:
    """Return the reporting of one model that saw no pseudo domains."""
    return Pipeline([
        *_scores(),
        Node(nodes.draw_erm_losses, "history", "loss_curves", name="draw_losses"),
        Node(page.write_report, _PAGE, "report", name="write_report"),
    ], namespace="reporting", prefix_datasets_with_namespace=False)


def _scores() -> list[Node]:
    return [
        Node(nodes.make_table, "results", "results_table", name="make_table"),
        Node(nodes.estimate_intervals, ["predictions", *_MANIFESTS, "parameters"], ["intervals", "gains"],
             name="estimate_intervals"),
        Node(nodes.draw_domains, ["intervals", "gains", "params:data"], "domain_chart", name="draw_domains"),
        Node(card.write_card, ["model", "results", "intervals", "data_card", "parameters", "params:run_id"],
             "model_card", name="write_card"),
        Node(nodes.draw_panels, ["predictions", *_MANIFESTS, "parameters"], "prediction_panels", name="draw_panels"),
    ]
