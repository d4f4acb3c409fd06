"""A tiny trained model of every task."""

from models_fixture import folder, models, streets  # noqa: F401
