"""DiGA on segmentation: warm-up and self-training beside the warm-up alone, ``kedro run --pipeline=diga``.

It is the pipeline ``uda`` with one more figure; ``pipelines.diga`` in the parameters says what this run changes: the
task, the two methods.
"""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines import uda
from dg_project.pipelines.diga import nodes

_IMAGES = ["adapt_manifest", "target_manifest"]


def create_pipeline() -> Pipeline:
    """Return all stages, and what the labels of self-training are worth."""
    own = Pipeline([
        Node(nodes.measure_labels, ["model", "baseline_model", "results", *_IMAGES, "parameters", "params:diga"],
             "label_quality", name="measure_labels"),
        Node(nodes.draw_label_precision, ["label_quality", "target_manifest", "params:reporting"], "label_precision",
             name="draw_label_precision"),
    ], namespace="diga", prefix_datasets_with_namespace=False)
    return uda.create_pipeline("label_precision") + own
