"""SCMD, selective cross-modality distillation (TMLR 2024, arXiv 2311.15145): distil a frozen CLIP on hard samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dg_project.config import Checkpoint, Fraction, Params, Settings, Task
from dg_project.core.cache import cache_folder, lock_folder
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Batch
from dg_project.data.dataset import ManifestDataset
from dg_project.data.manifest import manifest_fingerprint
from dg_project.methods.erm import ERM
from dg_project.tasks.base import TaskModel
from dg_project.tasks.classification import Classifier, true_labels
from dg_project.vlm import Teacher, open_teacher, teacher_fingerprint
from dg_project.vlm.base import class_prompts
from dg_project.vlm.embedding_cache import Memory

LOG_SCALE_START, LOG_SCALE_MAX = math.log(1 / 0.07), math.log(100)


class SCMDParams(Params):
    """Teacher, hard samples and distillation weights."""

    teacher: Checkpoint = Field("data/06_models/clip_like", description="a CLIP-like folder | folder or hub name of a "
                                "CLIP of transformers | open_clip:<architecture>/<weights>")
    embedding_size: int = Field(128, ge=1, description="length of the teacher's embeddings")
    prompt: str = "this is a photo of a {class}"
    hard_share: float = Field(0.5, gt=0, le=1, description="p: share of a batch in the losses, hardest first")
    full_batch_share: Fraction = Field(0.5, description="k: last share of the steps, which use all samples")
    temperature: float = Field(3.0, gt=0)
    lambda_logit: float = Field(0.5, ge=0, description="weight of the logit distillation")
    lambda_cross: float = Field(0.5, ge=0, description="weight of the cross-modality distillation")
    average_from: int = Field(150, ge=0, description="step from which the weights that predict are averaged")


def hardest(loss: Tensor, share: float) -> Tensor:
    """Return the rows (k,) of the largest losses (N,), ``k = max(1, ⌊share · N⌋)``."""
    return loss.topk(max(1, int(share * len(loss) + 1e-9))).indices


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return ``T² KL(softmax(t / T) ‖ softmax(z / T))`` for each row, (N,).

    Args:
        student: logits z (N, C).
        teacher: logits t (N, C); they get no gradient.
        temperature: T.
    """
    target = (teacher.detach() / temperature).log_softmax(1)
    divergence = F.kl_div((student / temperature).log_softmax(1), target, reduction="none", log_target=True)
    return temperature**2 * divergence.sum(1)


def cross_modality_logits(projected: Tensor, texts: Tensor, log_scale: Tensor) -> Tensor:
    """Return ``e^s norm(P h) · textᵀ`` (N, C): similarity of the student's features to the class sentences.

    Args:
        projected: P h (N, D).
        texts: unit vectors (C, D).
        log_scale: s, at most ln 100.
    """
    with torch.autocast(projected.device.type, enabled=False):  # scaled cosines need float32
        return log_scale.clamp(0, LOG_SCALE_MAX).exp() * F.normalize(projected.float(), dim=1) @ texts.T


class SCMD(ERM):
    """``L = CE + λ1 T² KL(q ‖ softmax(z/T)) + λ2 T² KL(q ‖ softmax(e^s norm(P h) · textᵀ / T))`` on the hard samples.

    The teacher is neither trained nor stored; a trained model predicts without it.
    """

    name: ClassVar[str] = "scmd"
    Params: ClassVar[type[Params]] = SCMDParams
    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    training_only: ClassVar[tuple[str, ...]] = ("projector", "log_scale")
    params: SCMDParams
    model: Classifier

    def __init__(self, model: TaskModel, params: SCMDParams, domains: Sequence[str]) -> None:
        super().__init__(model, params, domains)
        self.average_from = params.average_from
        class_prompts(params.prompt, model.classes)  # raises if a class name breaks the prompt
        self.projector = nn.Linear(model.backbone.channels[model.backbone.last], params.embedding_size, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE_START))
        self._guide: Guide | None = None

    @classmethod
    def check(cls, params: Any, settings: Settings) -> None:
        """Also open the teacher with the class sentences, which takes a second."""
        super().check(params, settings)
        Guide(params, settings.classes)

    @classmethod
    def determined_by(cls, params: Any) -> list[str]:
        """Return the identity of the teacher."""
        return [teacher_fingerprint(params.teacher)]

    @property
    def guide(self) -> Guide:
        """The teacher with the class sentences, opened on first use."""
        if self._guide is None:
            self._guide = Guide(self.params, self.model.classes)
        return self._guide

    def prepare(self, images: ManifestDataset, flip: bool, workspace: Path, device: torch.device) -> None:
        """Embed every training image and its mirror image with the teacher, once for all trainings."""
        crops = [[int(side) for side in crop] for crop in images.manifest.get("crop", [])]
        folder = cache_folder(workspace, "teacher", *self.determined_by(self.params),
                              manifest_fingerprint(images.manifest),
                       crops, flip, code=["dg_project.vlm.embedding_cache", "dg_project.vlm.opening"])
        with lock_folder(folder):  # other processes wait, then read the embeddings
            self.guide.memory.learn(images, flip, folder, device)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the three losses on the hard samples, or on all in the last share k of the steps."""
        params, inputs = self.params, self.model.prepare(batch.images, batch.targets)
        maps = self.model.neck(self.model.features(inputs.images))
        logits, vectors = self.model.logits(maps), self.model.vectors(maps)
        entropy = F.cross_entropy(logits, true_labels(inputs), reduction="none")
        chosen = torch.arange(len(batch), device=logits.device)
        if progress <= 1 - params.full_batch_share:
            chosen = hardest(entropy.detach(), params.hard_share)
        teacher, texts = self.guide(batch.images)
        cross = cross_modality_logits(self.projector(vectors), texts, self.log_scale)
        terms = {
            "loss_classification": entropy,
            "loss_logit": params.lambda_logit * distillation_loss(logits, teacher, params.temperature),
            "loss_cross": params.lambda_cross * distillation_loss(cross, teacher, params.temperature)}
        losses = {name: (term[chosen] * batch.weight[chosen]).mean() for name, term in terms.items()}
        right = (teacher.argmax(1) == true_labels(inputs)).float()
        return losses | {"log_batch_ce": entropy.mean().detach(), "log_teacher_right": right[chosen].mean()}


class Guide:
    """Class logits of the teacher, with each image embedded once.

    Args:
        params: teacher, embedding size and prompt.
        classes: class names.

    Raises:
        CheckpointError: the teacher cannot be opened.
        ParameterError: its embedding size differs, it does not know a class, or a class name breaks the prompt.
    """

    def __init__(self, params: SCMDParams, classes: Sequence[str]) -> None:
        prompts = class_prompts(params.prompt, classes)
        self.teacher: Teacher = open_teacher(params.teacher)
        strange = [name for name in classes if self.teacher.classes and name not in self.teacher.classes]
        if strange:
            raise ParameterError(f"the teacher '{params.teacher}' knows {', '.join(self.teacher.classes or ())} and "
                                 f"nothing else, and not '{strange[0]}'; name a CLIP, such as scmd.teacher="
                                 "openai/clip-vit-base-patch32,scmd.embedding_size=512")
        if self.teacher.size != params.embedding_size:
            raise ParameterError(f"scmd.embedding_size is {params.embedding_size}, but the teacher '{params.teacher}' "
                                 f"has embeddings of {self.teacher.size} numbers: set scmd.embedding_size="
                                 f"{self.teacher.size}, or name another teacher")
        self.texts = self.teacher.texts(prompts)
        if self.texts.shape[1] != self.teacher.size:
            raise ParameterError(f"the teacher '{params.teacher}' embeds sentences in {self.texts.shape[1]} numbers "
                                 f"and images in {self.teacher.size}: its two encoders do not belong together")
        self.memory = Memory(self.teacher.images)

    def __call__(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (N, C) of images in [0, 1], and the class sentences (C, D)."""
        texts = self.texts.to(images[0].device)
        return self.teacher.logits(self.memory(images), texts), texts
