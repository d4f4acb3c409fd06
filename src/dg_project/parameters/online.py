"""Pseudo images that are made while a method trains."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from dg_project.parameters.base import Fraction, Params


class OnlineParams(Params):
    """Online lightweight augmentation; base of the parameters of a method that trains on it."""

    refresh_epochs: float = Field(1.0, gt=0, description="T: epochs between two refreshes, of as many source rows as "
                                                       "the set has images")
    refreshes: int | None = Field(2, ge=1, description="how many at most; None: until the training ends")
    refresh_images: int | None = Field(96, ge=1, description="images that one refresh replaces, in turn; None: all")
    candidates: int = Field(2, ge=1, description="N images made for each of them; prompts are those of "
                                                 "synthesis.domains in random order")
    strength: tuple[Fraction, Fraction] | None = Field(None, description="each candidate's own is drawn between the "
                                                                         "two; None: that of its synthesis domain")
    decomposition: Literal["fourier", "adain"] = Field(
        "fourier", description="of style and content: amplitude and phase, or statistics of VAE latents and the rest")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.strength is not None and self.strength[0] > self.strength[1]:
            raise ValueError(f"strength {list(self.strength)}: the first must not be above the second")
        return self
