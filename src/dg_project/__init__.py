"""Domain generalization with latent diffusion: DRSF and its relatives as Kedro pipelines.

``from dg_project import load`` opens a trained model.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dg_project.predict.trained import load as load

from dg_project.core.allocator import keep_freed_memory

__version__ = "0.1.0"

# Waiting threads of GNU OpenMP spin. Next to another busy process this makes training and synthesis several times
# slower; a short spin costs a few percent on an idle machine. OpenMP reads the variable when torch loads it.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"

keep_freed_memory()


def __getattr__(name: str) -> Any:
    """Import ``load`` at first use: it imports torch, which ``import dg_project`` must not."""
    if name == "load":
        return import_module("dg_project.predict.trained").load
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
