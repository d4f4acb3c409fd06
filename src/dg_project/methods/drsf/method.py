"""DRSF (arXiv 2503.13617): soft fusion of domains, decoupling and reassembly of one stage, domain adversaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from dg_project.config import Fraction, Params, listed
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Batch
from dg_project.data.dataset import ManifestDataset
from dg_project.methods.base import Method, Needs
from dg_project.methods.drsf.consistency import AnswerBank, Consistency, Reference, ramp
from dg_project.methods.drsf.dfdr import DFDR, Parts, align_loss, ranking_loss
from dg_project.methods.drsf.mdsf import Adversary, ImageDiscriminator, InstanceDiscriminator, fuse, mixing_weights
from dg_project.methods.drsf.soft_fusion import Look, soft_fusion
from dg_project.methods.drsf.trust import Trust
from dg_project.ops.mixstyle import StyleMixer
from dg_project.tasks.base import AuxHead, Features, Inputs, Instances, TaskModel, take

if TYPE_CHECKING:
    from dg_project.config import Settings


class DRSFParams(Params):
    """Weights and options of DRSF. The paper's variant is the ablation row ``paper``; see ``docs/methods/drsf.md``."""

    soft_fusion: list[Look] = Field(["pseudo", "blend", "detail"], min_length=1, description=(
        "how a pseudo image is shown, each equally likely: as it is, blended with its source image, or with the detail "
        "of its source image"))
    detail_scale: int = Field(4, ge=2, description="pixels; finer structure counts as detail")
    mixstyle_stages: list[int] = Field([2], description="backbone stages after which MixStyle acts in training")
    stage: int | None = Field(3, ge=1, le=5, description="backbone stage followed by DFDR; None leaves DFDR out")
    reduction: int = Field(16, ge=1, description="hidden units of the gates: channels / reduction")
    lambda_align: float = Field(0.02, ge=0)
    lambda_rea: float = Field(0.01, ge=0)
    gamma: float = Field(0.1, ge=0, description="weight of the cosine term inside the alignment loss")
    lambda_adv: float = Field(0.05, ge=0, description="weight of both discriminators' losses")
    lambda_con: float = Field(0.0, ge=0, description="weight of the consistency of the predictions on a pseudo image "
                                                     "with those on its source image")
    beta_con: float = Field(1.0, ge=0, description="weight of boxes and masks in it")
    reference: Reference = Field("self", description="whose predictions on the source image: the model's (self), those "
                                                     "of an average of its weights, or those of ERM (source)")
    reference_alpha: Fraction = Field(0.99, description="largest decay of that average")
    trust: bool = Field(False, description="estimate how much each pseudo domain is worth, and show its source images "
                                           "instead as far as it is not")
    alpha: float = Field(1.0, gt=0, description="domains are mixed with Dirichlet(alpha)")
    grl_image: float = Field(0.01, ge=0, description="reversed gradient of the image discriminator; 0 leaves it out")
    grl_instance: float = Field(0.01, ge=0, description="reversed gradient of the instance discriminator (detection)")
    task_on_pseudo: bool = Field(True, description="the task loss also sees pseudo images, with the kept labels")
    task_on_fused: bool = Field(True, description="the task loss sees the fused features of pairs, with the kept "
                                                  "labels, instead of the pseudo images they were mixed from")
    cross_reassembly: Fraction = Field(0.0, description="probability that a row takes the private part of another "
                                                        "domain of the same source image")
    style_reassembly: Fraction = Field(0.5, description="probability that a row's private part takes the style of a "
                                                        "row of another domain, of any scene")

    _listed = field_validator("soft_fusion", "mixstyle_stages", mode="before")(listed)

    @model_validator(mode="after")
    def _one_module_per_stage(self) -> Self:
        if self.stage in self.mixstyle_stages:
            raise ValueError(f"mixstyle_stages names stage {self.stage}, where DFDR sits; style_reassembly mixes the "
                             "styles there")
        return self


class DRSF(Method):
    """``L = L_task(source) + lambda_align L_align + lambda_rea L_rea + lambda_adv L_adv``."""

    name: ClassVar[str] = "drsf"
    needs: ClassVar[Needs] = Needs(batches="paired")
    Params: ClassVar[type[Params]] = DRSFParams
    training_only: ClassVar[tuple[str, ...]] = ("aux", "image_adversary", "instance_adversary", "agreement",
                                                 "trust")
    params: DRSFParams

    def __init__(self, model: TaskModel, params: DRSFParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        backbone, n_domains = model.backbone, len(domains)
        self.dfdr: DFDR | None = None
        self.aux: AuxHead | None = None
        self.image_adversary: Adversary | None = None
        self.instance_adversary: Adversary | None = None
        if params.stage is not None:
            stage = f"stage{params.stage}"
            tap = backbone.tap(stage)
            self.dfdr = DFDR(backbone.channels[stage], params.reduction)
            self.aux = model.aux_head(backbone.channels[stage])
            tap.module = self.dfdr
        self.mixer = StyleMixer(p=0.5, alpha=0.1)
        for early in params.mixstyle_stages:
            backbone.tap(f"stage{early}").module = self.mixer
        if params.grl_image:
            image = ImageDiscriminator(backbone.channels[backbone.last], n_domains)
            self.image_adversary = Adversary(image, params.grl_image)
        if params.grl_instance and model.instance_channels is not None:
            instance = InstanceDiscriminator(model.instance_channels, n_domains)
            self.instance_adversary = Adversary(instance, params.grl_instance)
        self._reference: list[Method] = []
        self.agreement: Consistency | None = None
        if params.lambda_con:
            self.agreement = Consistency(self.predictor(), params.reference, params.reference_alpha, params.beta_con)
        self.trust = Trust(n_domains) if params.trust else None

    @classmethod
    def check(cls, params: Any, settings: Settings) -> None:
        """See ``Method.check``; consistency and trust need the source image of every pseudo image."""
        super().check(params, settings)
        in_pairs = cls.needs.on(settings.training.batches).batches == "paired"
        for name, off in (("lambda_con", "0"), ("trust", "false")):
            if getattr(params, name) and not in_pairs:
                raise ParameterError(f"{cls.name}.{name}: the batches of '{cls.name}' do not hold the source image of "
                                     f"every pseudo image; set it to {off}")
        if params.trust and (settings.training.processes > 1 or settings.training.precision == "float16"):
            raise ParameterError(f"{cls.name}.trust is estimated in one process and not in float16: set "
                                 "training.processes: 1 and another training.precision, or trust: false")

    @classmethod
    def reference(cls, params: Any) -> str | None:
        """See ``Method.reference``."""
        return "erm" if params.lambda_con and params.reference == "source" else None

    def use_reference(self, trained: Method) -> None:
        """See ``Method.use_reference``."""
        self._reference = [trained]  # in a list, so that it is no part of this module

    def prepare(self, images: ManifestDataset, flip: bool, workspace: Path, device: torch.device) -> None:
        """Keep the source images, which give the evidence of the trust and the answers of the reference."""
        super().prepare(images, flip, workspace, device)
        if self.trust is not None:
            self.trust.images = images
        if self.agreement is not None and self._reference:
            self.agreement.bank = AnswerBank(self._reference[0].model.to(device), images, device)

    def begin_step(self) -> None:
        """Update the average that gives the reference answers."""
        if self.agreement is not None:
            self.agreement.update(self.predictor())

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the task's losses, ``loss_align``, ``loss_rea``, ``loss_con`` and ``loss_adv_*``, all with weights."""
        trust = None if self.trust is None else self.trust()
        batch, labels = soft_fusion(batch, self.params.soft_fusion, self.params.detail_scale, len(self.domains), trust)
        inputs = self.model.prepare(batch.images, batch.targets)
        features, parts = self._features(batch, inputs)
        mix = mixing_weights(batch.pair_id, batch.domain_id, self.params.alpha)
        seen, rows, of, weight = self._task_features(batch, features, mix)
        losses: dict[str, Tensor] = {}
        if self.instance_adversary is None and self.agreement is None and self.trust is None:
            maps = self.model.neck(take(seen, rows))
        else:
            everything = self.model.neck(seen)
            maps = take(everything, rows)
            losses |= self._consistency(batch, everything, inputs, progress)
            losses |= self._adversary_on_instances(everything, inputs, labels, mix)
            losses |= self._update_trust(batch, everything, inputs, progress)
        if len(rows):  # a micro-batch may hold only pseudo images
            losses |= self.model.losses(maps, inputs.rows(of), weight)
        if parts is not None and self.aux is not None:
            losses |= self._dfdr_losses(self.aux, parts, inputs, batch)
        if self.image_adversary is not None:
            last = features[self.model.backbone.last]
            losses["loss_adv_image"] = self.image_adversary(last, labels, self.image_mix(batch, mix))
        return {name: self.params.lambda_adv * value if name.startswith("loss_adv") else value
                for name, value in losses.items()}

    def _task_features(self, batch: Batch, features: Features, mix: Tensor) -> tuple[Features, Tensor, Tensor, Tensor]:
        """Return (features, feature rows, label rows, weights) for the task loss.

        With ``task_on_fused`` a fused image replaces the pseudo images it was mixed from.
        """
        rows = self.task_rows(batch)
        if not self.params.task_on_fused or not len(mix):
            return features, rows, rows, batch.weight[rows]
        mixed = (mix > 0).any(0) & (batch.domain_id != 0)
        rows = rows[~mixed[rows]]
        fused = torch.arange(len(mix), device=rows.device)
        of = torch.cat([rows, (mix > 0).int().argmax(1)])  # all rows of a pair have the same labels
        return ({name: torch.cat([value, fuse(value, mix)]) for name, value in features.items()},
                torch.cat([rows, len(batch) + fused]), of, torch.cat([batch.weight[rows], mix @ batch.weight]))

    def task_rows(self, batch: Batch) -> Tensor:
        """Return the rows (n,) int64 of the batch for the task loss."""
        return torch.where((batch.domain_id == 0) | self.params.task_on_pseudo)[0]

    def image_mix(self, batch: Batch, pairs: Tensor) -> Tensor:
        """Return the mixing weights (G, B) for the image discriminator: the ``pairs``, unless a subclass changes it."""
        return pairs

    def _features(self, batch: Batch, inputs: Inputs) -> tuple[Features, Parts | None]:
        if self.dfdr is None:
            return self.model.features(inputs.images), None
        pair, domain = batch.pair_id.cpu(), batch.domain_id.cpu()
        private_from = draw_partners(pair[:, None] == pair, self.params.cross_reassembly)
        style_from = draw_partners(domain[:, None] != domain, self.params.style_reassembly)
        with self.dfdr.exchanging(private_from, style_from) as exchange:
            features = self.model.features(inputs.images)
        return features, exchange.parts

    def _consistency(self, batch: Batch, maps: Features, inputs: Inputs, progress: float) -> dict[str, Tensor]:
        """Return ``loss_con``, or nothing without rows that come with their source image."""
        if self.agreement is None:
            return {}
        loss = self.agreement.loss(self.predictor(), batch, maps, inputs)
        return {} if loss is None else {"loss_con": self.params.lambda_con * ramp(progress) * loss}

    def _update_trust(self, batch: Batch, maps: Features, inputs: Inputs, progress: float) -> dict[str, Tensor]:
        """Measure the trust in the batch's domains; return it as ``log_trust_<domain>``."""
        if self.trust is None:
            return {}
        maps = {name: value[:len(batch)] for name, value in maps.items()}
        self.trust.update(self.model, batch.domain_id, maps, inputs, progress)
        return {f"log_trust_{name}": value for name, value in zip(self.domains[1:], self.trust()[1:], strict=True)}

    def _adversary_on_instances(self, maps: Features, inputs: Inputs, labels: Tensor, mix: Tensor) -> dict[str, Tensor]:
        """Return ``loss_adv_instance`` of the labelled objects, or nothing if there are none."""
        if self.instance_adversary is None:
            return {}
        instances = self.model.instance_features(maps, inputs)
        if instances is None or not len(instances.row):
            return {}
        mixed = instance_mix(mix, instances)
        return {"loss_adv_instance": self.instance_adversary(instances.vectors, labels[instances.row], mixed)}

    def _dfdr_losses(self, aux: AuxHead, parts: Parts, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:
        align = align_loss(parts.shared, parts.private, batch.pair_id, batch.domain_id, self.params.gamma)
        logits = [aux(part) for part in (parts.reassembled, parts.feature, parts.private)]
        source = torch.where(batch.domain_id == 0)[0]
        rea = ranking_loss(*(aux.entropy(logit) for logit in logits))
        if len(source):
            rea = rea + aux.loss(logits[0][source], inputs.rows(source))
        return {"loss_align": self.params.lambda_align * align, "loss_rea": self.params.lambda_rea * rea}


def draw_partners(allowed: Tensor, probability: float) -> Tensor | None:
    """Draw a partner row for each row with the given probability; None if the probability is 0.

    Args:
        allowed: ``(B, B)`` bool, whether row j may be the partner of row i.
        probability: probability that a row gets another row as partner, if there is one.

    Returns:
        ``(B,)`` int64 partners; a row without a partner gets its own index.
    """
    if probability == 0:
        return None
    chosen = torch.arange(len(allowed))
    for row in torch.where(torch.rand(len(allowed)) < probability)[0].tolist():
        others = torch.where(allowed[row])[0]
        others = others[others != row]
        if len(others):
            chosen[row] = others[int(torch.randint(len(others), ()))]
    return chosen


def instance_mix(mix: Tensor, instances: Instances) -> Tensor:
    """Return the mixing weights of the objects in fused images.

    An object has the same ``slot`` in every image of a pair; it is fused if all the mixed images have it.

    Args:
        mix: ``(G, B)`` weights of the images in each fused image.
        instances: R objects of the B images.

    Returns:
        ``(M, R)`` weights of the objects in each fused object (rows sum to 1).
    """
    slots = torch.arange(int(instances.slot.max()) + 1, device=mix.device)
    weights = mix[:, None, instances.row] * (instances.slot == slots[:, None])
    return weights[weights.sum(-1) > 1 - 1e-4]
