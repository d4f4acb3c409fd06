"""What a method that asks the latent diffusion model is given, and when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator


class LDMUser(ABC):
    """A method that asks the diffusion model that ``ldm`` names. It is frozen, and never stored with the method.

    Attributes:
        asks: while it is trained, or when it predicts unseen images. Without the model a method trains, and predicts,
            without the part that asks it.
    """

    asks: ClassVar[Literal["training", "prediction"]]

    @abstractmethod
    def use_ldm(self, ldm: Generator) -> None:
        """Take the opened model.

        Raises:
            ParameterError: the method or this checkpoint cannot do what the parameters ask for.
        """
