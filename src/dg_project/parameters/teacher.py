"""The recipe of the embedded vision-language teacher."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from dg_project.parameters.base import Fraction, Params

Weather = Literal["day", "night", "dusk", "fog", "rain", "snow"]


class PretrainTeacherParams(Params):
    """The recipe of the embedded CLIP-like teacher."""

    corpus: str = "data/01_raw/streets_corpus"
    weathers: list[Weather] = Field(min_length=1, default=list(get_args(Weather)),
                                    description="kinds of weather whose frames it is trained on")
    size: int = Field(128, ge=2, description="length of the embeddings")
    hidden: int = Field(256, ge=2, description="units of the image branch")
    dropout: Fraction = Field(0.5, description="of image features, while training")
    margin: float = Field(0.2, ge=0, description="what a crop shows around its box, in box sides")
    min_side: int = Field(12, ge=1, description="objects whose longer side has fewer pixels are left out")
    steps: int = Field(1000, ge=1)
    batch_size: int = Field(128, ge=2)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    weather_texts: Fraction = Field(0.5, description="share of the sentences that name the weather too")
    seed: int = Field(0, ge=0)
    device: str = "auto"
