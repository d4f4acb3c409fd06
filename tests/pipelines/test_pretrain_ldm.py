"""The embedded diffusion model from a captioned corpus to a folder that synthesis can open, in seconds."""

from __future__ import annotations

from typing import Any

from corpus_fixture import build_corpus


def test_pretrain_ldm_and_synthesis(project: Any) -> None:
    build_corpus(project.root / "data/01_raw/streets_corpus")
    version = project.run("pretrain_ldm")
    folder = project.load("trained_ldm")
    assert (folder / "model_index.json").is_file()
    assert "oracle" in (folder / "README.md").read_text()
    assert [key for key in project.tracked(version).data.metrics if key.startswith("ldm/unet/loss")]
    project.run("ingestion", "synthesis", ldm={"checkpoint": str(folder.relative_to(project.root))},
                synthesis={"n_images": 1, "candidates": 1})
    assert len(project.load("candidate_manifest")) == 4
