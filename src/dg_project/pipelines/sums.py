"""The named pipelines that are sums of stages, and the parameters that they preset."""

from __future__ import annotations

from typing import Any

from kedro.pipeline import Pipeline

from dg_project.pipelines import (
    benchmark,
    calibrate_gate,
    evaluation,
    headroom,
    ingestion,
    regime,
    reporting,
    sampling,
    synthesis,
    training,
)

PRESETS: dict[str, dict[str, Any]] = {
    "scmd": {"task": "classification", "method": "scmd", "training": {"images_per_step": 32}},
    "domainfusion": {"task": "classification", "training": {"images_per_step": 32}},
    "diga": {"task": "segmentation", "uda": {"method": "diga", "baseline": "diga_warmup"}},
}
"""Parameters that ``kedro run --pipeline=NAME`` sets; ``--params`` overrides them."""


def create_sums() -> dict[str, Pipeline]:
    """Return the sums by name; each adds its stages in the order of the data."""
    ingest, adapt = ingestion.create_pipeline(), ingestion.create_adapt_pipeline(always=True)
    pseudo = ingest + synthesis.create_pipeline() + sampling.create_pipeline()
    grid = pseudo + ingestion.create_adapt_pipeline()
    score, report = evaluation.create_pipeline("baseline"), reporting.create_pipeline()
    return {
        # DRSF, or the method of params:method, next to ERM and naive mixing
        "drsf": (pseudo + training.create_pipeline() + evaluation.create_pipeline("baseline", "naive")
                 + reporting.create_pipeline(naive=True)),
        # ERM alone: no diffusion model
        "erm": (ingest + training.create_erm_pipeline() + evaluation.create_pipeline()
                + reporting.create_erm_pipeline()),
        # unsupervised domain adaptation: the methods of params:uda also get unlabelled target images
        "uda": pseudo + adapt + training.create_uda_pipeline() + score + report,
        # DiGA next to its warm-up, with the quality of its pseudo labels
        "diga": pseudo + adapt + training.create_uda_pipeline() + score + reporting.create_diga_pipeline(),
        # SCMD next to ERM and next to its own teacher, on object crops
        "scmd": ingest + training.create_source_pipeline() + score + reporting.create_scmd_pipeline(),
        # DomainFusion next to ERM; its synthetic set is renewed during training
        "domainfusion": ingest + training.create_domainfusion_pipeline() + score + report,
        # params:method in the closed loop next to the open loop, with the same number of steps and images
        "closed_loop": (pseudo + training.create_closed_loop_pipeline() + score
                        + reporting.create_closed_loop_pipeline()),
        # rows x seeds: methods, and DRSF with changed parameters
        "benchmark": grid + benchmark.create_pipeline("benchmark"),
        "ablation": grid + benchmark.create_pipeline("ablation"),
        # ERM that also trains on labelled target images: how much is there to win?
        "headroom": ingest + headroom.create_pipeline(),
        # methods x pseudo images of several qualities
        "regime": ingest + regime.create_pipeline(),
        # the visibility that the gate should ask for, by what ERM finds in the pseudo images
        "calibrate_gate": pseudo + training.create_erm_pipeline() + calibrate_gate.create_pipeline(),
        # what selection by target scores would have chosen, for a model trained with training.keep_validated=true
        "target_oracle": evaluation.create_target_oracle_pipeline(),
    }
