"""What a diffusion model that was trained here has seen: domains, the one left out, classes, captions."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from dg_project.core.errors import CheckpointError

FILE = "origin.json"


@dataclass(frozen=True)
class Origin:
    """Names of the data that a diffusion model was trained on.

    Attributes:
        domains: domains whose images it has seen.
        held_out: domain that was left out, or None.
        classes: class names.
        captions: caption templates.
    """

    domains: list[str]
    held_out: str | None
    classes: list[str]
    captions: list[str]

    def write(self, folder: Path) -> None:
        """Write the names next to the model."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the names of a model folder, or None if it has none (a model that was not trained here).

        Raises:
            CheckpointError: the file is broken.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            found = cls(**json.loads(path.read_text()))
            return cls([str(name) for name in found.domains], found.held_out, list(found.classes), list(found.captions))
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"'{path}' cannot be read ({error}); train the model again with `kedro run "
                                  "--pipeline=pretrain_folder_ldm`") from error
