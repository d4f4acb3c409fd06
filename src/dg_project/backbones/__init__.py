"""Feature extractors by name, with taps that let a method modify the output of any stage."""

from dg_project.backbones.backbone import Backbone, Tap
from dg_project.backbones.build import build_backbone

__all__ = ["Backbone", "Tap", "build_backbone"]
