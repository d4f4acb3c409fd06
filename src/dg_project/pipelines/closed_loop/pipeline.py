"""Everything from the images to the report, the method in the closed loop beside itself in the open loop.

Both take the same steps and as many generated images. The open loop stands where ERM stands in other runs: its model is
the ``baseline_model``, and gains are over it.
"""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines import evaluation, ingestion, reporting, sampling, synthesis, training
from dg_project.pipelines.closed_loop import nodes


def create_pipeline() -> Pipeline:
    """Return all stages, in the order that data flows."""
    loop = Pipeline([
        Node(nodes.train_in_rounds, ["source_manifest", "parameters"],
             ["model", "history", "closed_loop_rounds", "closed_loop_manifest", "allocation"], name="train_in_rounds",
             tags="gpu"),
        Node(nodes.draw_allocation, "allocation", "allocation_chart", name="draw_allocation"),
    ], namespace="closed_loop", prefix_datasets_with_namespace=False)
    open_loop = Pipeline(training.create_method_pipeline(),
                         outputs={"model": "baseline_model", "history": "baseline_history"})
    report = Pipeline(reporting.create_pipeline("allocation_chart"),
                      inputs={"pseudo_manifest": "closed_loop_manifest", "pseudo_images": "closed_loop_rounds"})
    return (ingestion.create_pipeline() + synthesis.create_pipeline() + sampling.create_pipeline() + open_loop + loop
            + evaluation.create_pipeline() + report)
