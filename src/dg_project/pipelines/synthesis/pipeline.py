"""source_manifest, ``params:ldm``, ``params:synthesis`` -> candidate_images, candidate_manifest."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.synthesis import nodes


def create_pipeline() -> Pipeline:
    """Generate the candidates; an interrupted run resumes at the next image."""
    return Pipeline([
        Node(nodes.generate_candidates,
             ["source_manifest", "params:data", "params:ldm", "params:synthesis", "params:seed",
              "params:training.device", "params:workspace"],
             ["candidate_images", "candidate_manifest"], name="generate_candidates", tags="gpu"),
    ], namespace="synthesis", prefix_datasets_with_namespace=False)
