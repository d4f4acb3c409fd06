"""The tiny LDM: built from scratch and trained on a captioned corpus, saved as a genuine diffusers pipeline."""

from dg_project.diffusion.tiny.recipe import pretrain

__all__ = ["pretrain"]
