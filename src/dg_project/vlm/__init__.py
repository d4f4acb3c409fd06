"""Frozen vision-language models behind one small interface: images and sentences in one embedding space."""

from dg_project.vlm.base import Teacher
from dg_project.vlm.opening import open_teacher, teacher_fingerprint

__all__ = ["Teacher", "open_teacher", "teacher_fingerprint"]
