"""Import optional libraries, with a clear error if one is missing."""

from __future__ import annotations

import importlib
from typing import Any

from dg_project.core.errors import DGError


class MissingExtraError(DGError):
    """An optional library is not installed."""


def _need(module: str, what: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{what} needs the package '{error.name or module}', which is not installed: "
                                f"pip install 'dg_project[{extra}]'") from error


def av() -> Any:
    """Return PyAV (reads and writes videos)."""
    return _need("av", "a video", "video")


def onnxruntime() -> Any:
    """Return ONNX Runtime (runs exported models)."""
    return _need("onnxruntime", "running an ONNX model", "export")


def onnxscript() -> Any:
    """Return ONNX Script (used by ``torch.onnx``)."""
    return _need("onnxscript", "the export to ONNX", "export")
