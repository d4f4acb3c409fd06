"""How the closed loop steers the synthesis."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dg_project.parameters.base import Fraction, Params


class ClosedLoopParams(Params):
    """Rounds of training, measuring and synthesis; the budget of images and steps is that of the open loop."""

    rounds: int = Field(3, ge=2, description="the first one has no measurement yet and divides its images evenly")
    probe_images: int = Field(12, ge=1, description="held-out source scenes per pseudo domain on which difficulty is "
                                                    "measured; their images are part of the budget")
    temperature: float = Field(0.1, gt=0, description="a difficulty larger by this much gets e times the images")
    floor: Fraction = Field(0.5, description="share of a round that is divided evenly, so that no domain starves")
    prior_images: float = Field(8.0, ge=0, description="a difficulty is drawn to the mean of all domains as if by so "
                                                       "many images: few probes say little")
    compositions: Fraction = Field(0.25, description="share of a later round that goes to compositions such as fog + "
                                                     "night + rain")
    compose: int = Field(3, ge=2, description="domains that one composition takes its words from, at most")
    strength_step: Fraction = Field(0.1, description="the hardest domain's strength grows by this much, up to 1")
    images: Literal["enlarge", "renew"] = Field("enlarge", description="does a round add its images, or replace all?")
