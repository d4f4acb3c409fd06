"""Frozen vision-language models: images and sentences in one space, behind one small interface."""

from dg_project.vlm.base import Teacher
from dg_project.vlm.opening import open_teacher, teacher_fingerprint

__all__ = ["Teacher", "open_teacher", "teacher_fingerprint"]
