"""A model trained on the source, and pseudo images -> the visibility that the gate should ask for."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.calibrate_gate import nodes


def create_pipeline() -> Pipeline:
    """Choose ``sampling.gate.min_visibility`` and show the boxes near it."""
    drawn = ["gate_boxes", "gate_choice"]
    return Pipeline([
        Node(nodes.find_boxes, ["model", "source_manifest", "pseudo_images", "pseudo_manifest", "params:settings"],
             "gate_boxes", name="find_boxes", tags="gpu"),
        Node(nodes.choose, ["gate_boxes", "params:gate_calibration", "params:sampling"], "gate_choice", name="choose"),
        Node(nodes.draw_chart, [*drawn, "params:sampling"], "gate_chart", name="draw_chart"),
        Node(nodes.draw_sheet, [*drawn, "params:data", "pseudo_images"], "borderline_sheet", name="draw_sheet"),
    ], namespace="calibrate_gate", prefix_datasets_with_namespace=False)
