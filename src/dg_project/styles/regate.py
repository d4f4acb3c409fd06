"""The same pseudo images as another gate, or fewer domains, would have left them: nothing is generated anew."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import torch

from dg_project.parameters import GateParams
from dg_project.styles.visibility import gate


def view(pseudo: pd.DataFrame, domains: Collection[str] | None, made_with: GateParams,
         wanted: GateParams) -> pd.DataFrame:
    """Return a view of the pseudo manifest.

    Args:
        pseudo: from ``sampling.sample``; the visibility of every box is in it.
        domains: pseudo domains to keep; None keeps all.
        made_with: the gate that weighed the manifest.
        wanted: the gate that weighs the view; without CLIP, unless it is off or the same.
    """
    rows = pseudo if domains is None else pseudo[pseudo["domain"].isin(list(domains))].reset_index(drop=True)
    if wanted == made_with:
        return rows
    decided = [gate(torch.tensor([float(v) for v in seen]), torch.tensor([bool(d) for d in hard], dtype=torch.bool),
                    wanted)
               for seen, hard in zip(rows["visibility"], rows["difficult"], strict=True)]
    weight, kept, reason = zip(*decided, strict=True)
    return rows.assign(weight=weight, kept=kept, reason=reason)
