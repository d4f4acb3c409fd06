"""DiGA on segmentation: warm-up and self-training beside the warm-up alone, ``kedro run --pipeline=diga``.

It is the pipeline ``uda``; ``pipelines.diga`` in the parameters says what this run changes: the task, the two methods.
"""

from __future__ import annotations

from dg_project.pipelines.uda import create_pipeline

__all__ = ["create_pipeline"]
