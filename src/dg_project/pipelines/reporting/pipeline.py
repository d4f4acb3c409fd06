"""Results, predictions, histories and manifests -> figures, tables and one page."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.reporting import nodes

_MANIFESTS = ["source_manifest", "target_manifest", "params:data"]


def create_pipeline() -> Pipeline:
    """Return the reporting of a method beside the baseline."""
    return Pipeline([
        *_scores(),
        Node(nodes.draw_losses, ["history", "baseline_history"], "loss_curves", name="draw_losses"),
        Node(nodes.draw_pseudo_domains,
             ["source_manifest", "pseudo_manifest", "pseudo_images", "params:data", "params:reporting"],
             "pseudo_sheet", name="draw_pseudo_domains"),
        Node(nodes.draw_feature_shift,
             ["model", *_MANIFESTS, "pseudo_manifest", "pseudo_images", "params:reporting", "params:training.device"],
             "feature_shift", name="draw_feature_shift"),
        Node(nodes.write_report,
             {"results": "results", "class_scores": "class_scores", "data_card": "data_card", "run_id": "params:run_id",
              "domain_chart": "domain_chart", "prediction_panels": "prediction_panels", "loss_curves": "loss_curves",
              "pseudo_sheet": "pseudo_sheet", "feature_shift": "feature_shift", "parameters": "parameters"},
             "report", name="write_report"),
    ], namespace="reporting", prefix_datasets_with_namespace=False)


def create_erm_pipeline() -> Pipeline:
    """Return the reporting of one model that saw no pseudo domains."""
    return Pipeline([
        *_scores(),
        Node(nodes.draw_losses, ["history"], "loss_curves", name="draw_losses"),
        Node(nodes.write_report,
             {"results": "results", "class_scores": "class_scores", "data_card": "data_card", "run_id": "params:run_id",
              "domain_chart": "domain_chart", "prediction_panels": "prediction_panels", "loss_curves": "loss_curves",
              "parameters": "parameters"},
             "report", name="write_report"),
    ], namespace="reporting", prefix_datasets_with_namespace=False)


def _scores() -> list[Node]:
    return [
        Node(nodes.make_table, "results", "results_table", name="make_table"),
        Node(nodes.draw_domains, "results", "domain_chart", name="draw_domains"),
        Node(nodes.draw_panels, ["predictions", *_MANIFESTS, "params:reporting"], "prediction_panels", name="draw_panels"),
    ]
