"""A training stage of the tiny LDM: seeded per step, resumable, bit-equal to an uninterrupted run."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from tqdm.auto import tqdm

from dg_project.core import torch_files
from dg_project.core.errors import TrainingError
from dg_project.core.files import atomic_file

EMA_DECAY = 0.999
WARMUP = 100
MAX_GRADIENT = 1.0


@dataclass(frozen=True)
class Stage:
    """One training stage: modules, loss and schedule.

    Attributes:
        name: stage name; files are ``<workdir>/<name>.pt`` (checkpoint) and ``<name>_losses.csv``.
        modules: modules to train; they hold the weight average when the stage ends.
        loss: generator of the step -> losses by name; ``loss_*`` are summed and minimised, ``log_*`` only logged.
        steps: number of steps.
        lr: peak learning rate of AdamW.
        seed: random seed, combined with the name and the step.
        checkpoint_every: steps between checkpoints.
        on_checkpoint: called with the step while the modules hold the weight average.
        autocast: dtype of convolutions and matrix products in the loss; weights stay in float32.
        momentum: first beta of AdamW.
        faster: submodule -> factor of its learning rate.
    """

    name: str
    modules: nn.Module
    loss: Callable[[torch.Generator], dict[str, Tensor]]
    steps: int
    lr: float
    seed: int
    checkpoint_every: int
    on_checkpoint: Callable[[int], None] = lambda step: None
    autocast: torch.dtype = torch.float32
    momentum: float = 0.9
    faster: Mapping[str, float] = field(default_factory=dict)

    def train(self, workdir: Path) -> pd.DataFrame:
        """Train to the end, resuming from ``<workdir>/<name>.pt`` if it exists; return the losses per step.

        Raises:
            TrainingError: a loss is not finite.
        """
        parameters = [p for p in self.modules.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(self._groups(), lr=self.lr, betas=(self.momentum, 0.99), weight_decay=1e-3,
                                      fused=True)
        average = EMAModel(parameters, decay=EMA_DECAY)
        history = self._restore(workdir, optimizer, average)
        with tqdm(total=self.steps, initial=len(history), desc=f"{self.name} of the tiny LDM", unit="step") as bar:
            for step in range(len(history), self.steps):
                started = time.perf_counter()
                losses = self._step(step, optimizer, parameters)
                average.step(parameters)
                history.append({"step": step, **losses, "seconds": time.perf_counter() - started})
                bar.update()
                bar.set_postfix({k.removeprefix("loss_"): f"{v:.4f}" for k, v in losses.items()}, refresh=False)
                if (step + 1) % self.checkpoint_every == 0 or step + 1 == self.steps:
                    self._store(workdir, optimizer, average, history)
                    average.store(parameters)
                    average.copy_to(parameters)
                    self.on_checkpoint(step + 1)
                    average.restore(parameters)
        average.copy_to(parameters)
        return pd.DataFrame(history)

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters grouped by learning rate."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.modules.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.faster.get(name.split(".")[0], 1.0), []).append(parameter)
        return [{"params": members, "factor": factor} for factor, members in groups.items()]

    def _step(self, step: int, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> dict[str, float]:
        for group in optimizer.param_groups:
            group["lr"] = self.lr * group["factor"] * learning_rate_factor(step, self.steps)
        with torch.autocast(parameters[0].device.type, self.autocast, enabled=self.autocast != torch.float32):
            losses = self.loss(step_generator(self.seed, self.name, step))
        total = sum((v for k, v in losses.items() if k.startswith("loss_")), torch.zeros(()))
        values = {k: float(v.detach()) for k, v in losses.items()}
        if not math.isfinite(float(total.detach())):
            raise TrainingError(
                f"{self.name}: the loss is not finite at step {step}: {values}; lower 'pretrain_ldm.lr'"
            )
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT)
        optimizer.step()
        return values

    def _store(
        self, workdir: Path, optimizer: torch.optim.Optimizer, average: EMAModel, history: list[dict[str, float]]
    ) -> None:
        torch_files.save(
            {
                "modules": self.modules.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.state_dict(),
                "history": history,
            },
            workdir / f"{self.name}.pt",
        )
        with atomic_file(workdir / f"{self.name}_losses.csv") as aside:
            pd.DataFrame(history).to_csv(aside, index=False)

    def _restore(self, workdir: Path, optimizer: torch.optim.Optimizer, average: EMAModel) -> list[dict[str, float]]:
        """Load the last checkpoint, if any, and return its history; the next step is its length."""
        path = workdir / f"{self.name}.pt"
        if not path.exists():
            return []
        state = torch.load(path, weights_only=True, map_location=next(self.modules.parameters()).device)
        self.modules.load_state_dict(state["modules"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        return state["history"]


def learning_rate_factor(step: int, steps: int) -> float:
    """Return the learning-rate factor: linear warm-up over ``WARMUP`` steps, then a cosine from 1 to 0.02."""
    warm = min(1.0, (step + 1) / min(WARMUP, steps))
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def step_generator(seed: int, name: str, step: int) -> torch.Generator:
    """Return the CPU generator of one step of a stage, so that resuming needs no stored random state."""
    digest = hashlib.sha256(f"{seed}/{name}/{step}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:6], "big"))
