"""A tiny trained model of every task, and images to show it."""

from models_fixture import folder, models, streets  # noqa: F401
