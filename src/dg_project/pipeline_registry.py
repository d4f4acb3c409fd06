"""The project's pipelines: every folder of dg_project.pipelines is one, by its name."""

from __future__ import annotations

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name; the default one is ``drsf``.

    With ``--pipeline=X`` Kedro makes ``find_pipelines`` import the module X alone, so no other key may be
    counted on here, and each runnable name is a module.
    """
    try:
        pipelines = find_pipelines(raise_errors=True)
    except ImportError as error:
        if error.__cause__ is not None:
            raise
        return {}  # no such folder: Kedro then names the pipelines that there are
    if "drsf" in pipelines:
        pipelines["__default__"] = pipelines["drsf"]
    return pipelines
