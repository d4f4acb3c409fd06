"""Domain generalization with latent diffusion: DRSF and its relatives as Kedro pipelines."""

import os

from dg_project.core.allocator import keep_freed_memory

__version__ = "0.1.0"

# Waiting threads of GNU OpenMP spin. Next to another busy process this makes training and synthesis several times
# slower; a short spin costs a few percent on an idle machine. OpenMP reads the variable when torch loads it.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"

keep_freed_memory()
