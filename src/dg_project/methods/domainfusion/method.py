"""DomainFusion (ECCV 2024): a frozen diffusion model scores the classifier's confidence and renews its images."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dg_project.config import OnlineParams
from dg_project.data.batches import Batch
from dg_project.methods.base import Method, Needs
from dg_project.methods.domainfusion.latent_distillation import LatentDistiller, distillation_loss
from dg_project.tasks.base import Features, Inputs, take
from dg_project.tasks.classification import Classifier, true_labels

if TYPE_CHECKING:
    from dg_project.diffusion.generator import Generator


class DomainFusionParams(OnlineParams):
    """Latent distillation and online augmentation."""

    lambda_ld: float = Field(0.001, ge=0, description="weight of the distillation (classification); 0 leaves it out")
    path: Literal["cached", "exact"] = Field(
        "cached", description="cached: z = p E(x0), each image encoded once | exact: through the encoder in each step")
    label_prompt: str = Field("a photo of a {label}", pattern=r"\{label\}",
                              description="prompt of the distillation")


class DomainFusion(Method):
    """``L = CE(real) + CE(synthetic) + lambda_ld L_LD``.

    A step sees source images and as many entries of the current synthetic set. Tasks with several objects per image
    have no single confidence to distil: they use the augmentation only.
    """

    name: ClassVar[str] = "domainfusion"
    needs: ClassVar[Needs] = Needs(batches="apart", renewed=True, ldm="training")
    Params: ClassVar[type[OnlineParams]] = DomainFusionParams
    params: DomainFusionParams
    distiller: LatentDistiller | None = None

    def use_ldm(self, ldm: Generator) -> None:
        """Build the distiller for classification. See ``Method.use_ldm``."""
        if self.params.lambda_ld and isinstance(self.model, Classifier):
            prompts = [self.params.label_prompt.replace("{label}", name) for name in self.model.classes]
            self.distiller = LatentDistiller(ldm, prompts, self.model.image_size, self.params.path == "exact")

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the task losses on both sets, and the weighted ``loss_ld`` if there is a distiller."""
        inputs = self.model.prepare(batch.images, batch.targets)
        features = self.model.features(inputs.images)
        made = batch.domain_id == len(self.domains) - 1  # the last domain; those before it are the sources
        real, synthetic = torch.where(~made)[0], torch.where(made)[0]
        maps = self.model.neck(take(features, real))
        losses = self.model.losses(maps, inputs.rows(real), batch.weight[real])
        if len(synthetic):
            more = self.model.losses(self.model.neck(take(features, synthetic)), inputs.rows(synthetic),
                                     batch.weight[synthetic])
            losses |= {name.replace("loss_", "loss_synthetic_", 1): value for name, value in more.items()}
        if self.distiller is not None:
            losses |= self._distil(self.distiller, batch.rows(real), maps, inputs.rows(real), len(batch))
        return losses

    def _distil(self, distiller: LatentDistiller, real: Batch, maps: Features, inputs: Inputs,
                images: int) -> dict[str, Tensor]:
        """Return the loss and logs of the slopes; a negative slope raises the confidence of an image."""
        assert isinstance(self.model, Classifier)
        labels = true_labels(inputs)
        confidence = self.model.logits(maps).softmax(1).gather(1, labels[:, None])[:, 0]
        started = time.perf_counter()
        slope = distiller.slopes(real.images, labels, confidence).to(confidence)
        # Reading the slope waits for the accelerator, so the time is taken after it.
        signs = (slope < 0).float().mean().cpu()
        seconds = time.perf_counter() - started
        return {"loss_ld": self.params.lambda_ld * distillation_loss(confidence, slope),
                "log_confidence": confidence.detach().mean(), "log_ld_slope": slope.mean(),
                "log_ld_size": slope.abs().mean(), "log_ld_raising": signs,
                "log_ldm_seconds_per_image": torch.tensor(seconds / images)}
