"""Train one model in several processes: one per GPU, started by accelerate or by ``launch``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dg_project.config import TrainingParams
from dg_project.core.device import resolve_device
from dg_project.core.errors import ParameterError
from dg_project.data.batches import Deal

T = TypeVar("T")
PATIENCE = timedelta(hours=2)
"""How long processes wait for each other; the others wait while the main one validates."""


class ProcessGroup:
    """The processes of a training and their communication. Most groups have one process.

    All processes hold the same weights. Each computes the gradients of its own parts of a batch; their sums are the
    gradients of the batch.

    Args:
        device: device in the parameters; with GPUs each process gets its own.

    Attributes:
        device: device of this process.
        processes: number of processes.
        process: index of this process.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.processes, self.process = device, int(os.environ.get("WORLD_SIZE", "1")), 0
        if self.processes > 1:
            from accelerate.state import PartialState

            state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
            self.device, self.processes, self.process = state.device, state.num_processes, state.process_index

    @property
    def is_main(self) -> bool:
        """Whether this process validates, writes and shows progress."""
        return self.process == 0

    def shard(self, parts: int) -> Deal:
        """Return which parts of every batch belong to this process.

        Raises:
            ParameterError: the parts cannot be divided equally.
        """
        if parts % self.processes:
            raise ParameterError(f"training.accumulate: {parts} micro-batches cannot be shared by {self.processes} "
                                 f"processes; set it to {self.processes} or a multiple")
        return Deal(parts, self.process, self.processes)

    def sum_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their sum over the processes; a weight that no process used stays without one."""
        if self.processes == 1:
            return
        from accelerate.utils import reduce

        used = torch.tensor([float(weight.grad is not None) for weight in weights], device=self.device)
        own = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        total: Tensor = reduce(torch.cat([used, *(gradient.flatten() for gradient in own)]), "sum")
        used, *sums = total.split([len(used), *(gradient.numel() for gradient in own)])
        for weight, members, gradient in zip(weights, used.tolist(), sums, strict=True):
            weight.grad = gradient.view(weight.shape).contiguous(memory_format=_layout(weight)) if members else None

    def mean_statistics(self, module: nn.Module) -> None:
        """Replace the running statistics of batch normalisations that train by their mean over the processes."""
        if self.processes == 1:
            return
        from accelerate.utils import reduce

        for norm in module.modules():
            if isinstance(norm, _BatchNorm) and norm.training:
                for statistic in (norm.running_mean, norm.running_var):
                    if statistic is not None:
                        statistic.copy_(reduce(statistic, "mean"))

    def gather(self, values: list[T]) -> list[T]:
        """Return the values of all processes."""
        if self.processes == 1:
            return values
        from accelerate.utils import gather_object

        return gather_object(values)

    def from_main(self, value: T) -> T:
        """Return the main process's value (anything that can be pickled)."""
        if self.processes == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def share_weights(self, module: nn.Module) -> None:
        """Copy the weights and buffers of the main process to all others."""
        if self.processes > 1:
            from accelerate.utils import broadcast

            module.load_state_dict(broadcast({name: value.contiguous() for name, value in module.state_dict().items()}))


def _layout(weight: Tensor) -> torch.memory_format:
    last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def in_main_process() -> bool:
    """Return whether this process is the main one of its group."""
    return os.environ.get("RANK", "0") == "0"


def launch(params: TrainingParams, function: Callable[..., None], *args: Any) -> None:
    """Call a function in ``params.processes`` new processes of this machine, which form a process group.

    Returns when all are done. An error in one stops the others and is raised here. With
    ``processes: 1`` the function runs in this process.

    Args:
        params: number of processes and device.
        function: function that can be imported by name.
        args: its arguments; they are pickled.

    Raises:
        ParameterError: there are fewer GPUs than processes.
    """
    if params.processes == 1:
        function(*args)
        return
    gpus = torch.cuda.device_count()
    if resolve_device(params.device).type == "cuda" and params.processes > gpus:
        raise ParameterError(f"training.processes: {params.processes} processes need a GPU each, and this machine has "
                             f"{gpus}")
    from accelerate.utils.other import get_free_port

    # The server imports the function's modules once, and never touches a GPU, which forked processes cannot share.
    torch.multiprocessing.get_context("forkserver").set_forkserver_preload([function.__module__, "accelerate.utils"])
    torch.multiprocessing.start_processes(_worker, (params.processes, get_free_port(), function, args),
                                          params.processes, start_method="forkserver")


def _worker(process: int, processes: int, port: int, function: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(process), "LOCAL_RANK": str(process), "WORLD_SIZE": str(processes),
                   "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    function(*args)
    torch.distributed.destroy_process_group()
