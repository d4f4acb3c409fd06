"""The data, looked at briefly: every list is read and counted, and the first images of each are checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dg_project.domains.readers import configured, count_domain, read_domain
from dg_project.errors import DGError
from dg_project.parameters import DataParams

FIRST = 2
"""Images of each split that are decoded and checked like those of an ingestion."""


@dataclass
class Seen:
    """What was found.

    Attributes:
        counts: images that are listed, by (domain, split).
        first: manifest rows of the first images of the source.
        problems: one message per domain that cannot be read as the parameters say.
    """

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    first: pd.DataFrame | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def train(self) -> pd.DataFrame | None:
        """The first training images; None where no source image could be read."""
        rows = None if self.first is None else self.first[self.first["split"] == "train"]
        return None if rows is None or rows.empty else rows


def look(data: DataParams, root: Path) -> Seen:
    """Look at every domain; a domain that cannot be read does not keep the others from being looked at."""
    seen = Seen()
    for domain in [data.source, *data.targets]:
        asked = configured(data, root, domain)
        try:
            counts = count_domain(**asked)
            rows, skipped = read_domain(role="source" if domain == data.source else "target",
                                        limits=dict.fromkeys(counts, FIRST), **asked)
        except DGError as error:
            seen.problems.append(str(error))
            continue
        if data.max_train and domain == data.source and "train" in counts:
            counts["train"] = min(counts["train"], data.max_train)
        seen.counts |= {(domain, split): number for split, number in counts.items()}
        seen.problems += skipped if data.on_bad_sample == "stop" else []
        if domain == data.source:
            seen.first = rows
    return seen
