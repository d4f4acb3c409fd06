"""The tables of docs/performance.md, from the rows that ``benchmarks/peers.py`` recorded."""

from __future__ import annotations

import pandas as pd

from dg_project.evaluation.table import markdown

CASES = {
    "detection": "detection, one training step", "segmentation": "segmentation, one training step",
    "classification": "classification, one training step", "synthesis": "synthesis, one image",
    "idle": "synthesis on an idle machine, one image", "busy": "synthesis next to two busy processes, one image",
    "map": "mAP of 1,000 images", "start": "start of a command",
}
VARIANTS = {
    "ours": "ours", "unfolded": "ours, normalisation not folded", "one_by_one": "ours, image by image",
    "before": "ours before: image by image, bfloat16", "torchvision": "torchvision's reference loop",
    "domainbed": "DomainBed's ERM loop", "diffusers_bfloat16": "diffusers, image by image, bfloat16",
    "diffusers_float32": "diffusers, image by image, float32",
    "diffusers_batch_float32": "diffusers, batches of 8, float32",
    "diffusers_batch_bfloat16": "diffusers, batches of 8, bfloat16", "pycocotools": "pycocotools",
    "openmp_default": "OpenMP's default", "passive": "OMP_WAIT_POLICY=passive",
    "wrong_pipeline": "kedro run with a wrong pipeline name", "registry_list": "kedro registry list",
    "import_torch_diffusers": "import torch, torchvision, diffusers, timm",
}


def speed_table(rows: pd.DataFrame) -> str:
    """Return the last measurement of each case and number of threads as Markdown, and where it was made.

    Args:
        rows: the table that ``benchmarks/peers.py`` appends to.
    """
    last = rows.groupby(["case", "threads", "variant"], sort=False).last().reset_index()
    last["order"] = last["case"].map(list(CASES).index)
    last = last.sort_values(["order", "threads"], kind="stable")
    table = pd.DataFrame({
        "work": last["case"].map(CASES), "threads": last["threads"], "variant": last["variant"].map(VARIANTS),
        "seconds": last["seconds"].map("{:.3f}".format),
        "times ours": [_ratio(*ratio) for ratio in zip(last["ratio"], last["low"], last["high"], strict=True)],
    }).set_index("work")
    made = last[["commit", "hardware", "torch", "torchvision", "diffusers"]].drop_duplicates()
    where = "; ".join(f"commit {row.commit}, {row.hardware}, torch {row.torch}, torchvision {row.torchvision}, "
                      f"diffusers {row.diffusers}" for row in made.itertuples())
    return f"{markdown(table)}\n\nMeasured at {where}."


def _ratio(middle: float, low: float, high: float) -> str:
    return "1" if low == high == 1 else f"{middle:.2f} [{low:.2f}, {high:.2f}]"
