"""Domain generalization with latent diffusion: DRSF and its relatives as Kedro pipelines."""

__version__ = "0.1.0"
