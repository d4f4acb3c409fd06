"""``params:data`` -> the manifests of source and targets, data_card, contact_sheet; for adaptation, adapt_manifest."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from dg_project.pipelines.ingestion import nodes


def create_pipeline() -> Pipeline:
    """Read source and targets; the data card is the only output of both."""
    return Pipeline([
        Node(nodes.ingest_source, ["params:data", "params:segmentation.classes"],
             ["source_manifest", "skipped_source"], name="ingest_source"),
        Node(nodes.ingest_targets, ["params:data", "params:segmentation.classes"],
             ["target_manifest", "skipped_target"], name="ingest_targets"),
        Node(nodes.make_card, ["source_manifest", "target_manifest", "skipped_source", "skipped_target", "params:data",
                               "params:task"], "data_card", name="count_images_and_boxes"),
        Node(nodes.draw_contact_sheet, ["source_manifest", "target_manifest", "params:data",
                                        "params:segmentation.classes", "params:task"], "contact_sheet",
             name="draw_contact_sheet"),
    ], namespace="ingestion", prefix_datasets_with_namespace=False)


def create_adapt_pipeline(always: bool = False) -> Pipeline:
    """Read the unlabelled target images.

    Args:
        always: read the split ``adapt`` if ``data.adapt_split`` names none; else there are no rows then.
    """
    return Pipeline([
        Node(nodes.ingest_adapt_always if always else nodes.ingest_adapt, "params:data",
             ["adapt_manifest", "skipped_adapt"], name="ingest_adapt"),
        Node(nodes.make_adapt_card, ["adapt_manifest", "target_manifest", "skipped_adapt"], "adapt_card",
             name="count_unlabelled_images"),
    ], namespace="ingestion", prefix_datasets_with_namespace=False)
