"""source_manifest, candidate_images, candidate_manifest -> pseudo_images, pseudo_manifest."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.sampling import nodes


def create_pipeline() -> Pipeline:
    """Select, recombine and gate the candidates."""
    return Pipeline([
        Node(nodes.sample_pseudo_domains,
             ["source_manifest", "params:data.root", "params:data.classes", "candidate_images", "candidate_manifest",
              "params:sampling", "params:training.device", "params:workspace"],
             ["pseudo_images", "pseudo_manifest"], name="sample_pseudo_domains", tags="gpu"),
    ], namespace="sampling", prefix_datasets_with_namespace=False)
