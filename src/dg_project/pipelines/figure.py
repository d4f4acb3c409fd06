"""The annotation ``Figure`` for nodes that draw.

Kedro evaluates the annotations of node functions, and importing matplotlib for them would make ``kedro registry list``
a second slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any

__all__ = ["Figure"]
