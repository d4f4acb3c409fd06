"""Tiny trained models."""

from models_fixture import models  # noqa: F401
