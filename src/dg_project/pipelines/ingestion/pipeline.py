"""``params:data`` -> source_manifest, target_manifest, data_card."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.ingestion import nodes


def create_pipeline() -> Pipeline:
    """Return the pipeline; source and target manifests never meet but on the data card."""
    return Pipeline([
        Node(nodes.ingest_source, "params:data", ["source_manifest", "skipped_source"], name="ingest_source"),
        Node(nodes.ingest_targets, "params:data", ["target_manifest", "skipped_target"], name="ingest_targets"),
        Node(nodes.make_card, ["source_manifest", "target_manifest", "skipped_source", "skipped_target", "params:data"],
             "data_card", name="count_images_and_boxes"),
    ], namespace="ingestion", prefix_datasets_with_namespace=False)
