"""Devices and processes, from Hugging Face Accelerate, so that the loop need not know how many there are.

Gradients are averaged after the backward pass, flattened into one tensor, as StyleGAN's code does, rather than by
wrapping networks in DistributedDataParallel: that fits phases that freeze each other's networks, several forward
passes before one backward pass, and second derivatives.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor, nn

from corinth.inspect.devices import choose_device


class Processes:
    """The group that trains together; with one process every method returns at once what it was given.

    Mixed precision stays off in Accelerate, whose setting is one for the whole process: the loop does its own
    autocast, so that trainings of different precision can follow each other.
    """

    def __init__(self, device: str = "auto") -> None:
        launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
        self.accelerator = Accelerator(mixed_precision="no", cpu=launched and device == "cpu")
        self.rank = self.accelerator.process_index
        self.world_size = self.accelerator.num_processes
        self.is_main = self.accelerator.is_main_process
        self.device = self.accelerator.device if launched else choose_device(device)

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def share(self, values: Sequence[float]) -> list[float]:
        """The main process's `values`, in every process: decisions that a clock takes must be the same in all."""
        if self.world_size == 1:
            return list(values)
        return broadcast(torch.tensor(values, dtype=torch.float64, device=self.device)).tolist()

    def sum(self, values: Sequence[float]) -> list[float]:
        if self.world_size == 1:
            return list(values)
        return self.accelerator.reduce(torch.tensor(values, dtype=torch.float64, device=self.device), "sum").tolist()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        if self.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.accelerator.reduce(torch.cat([g.reshape(-1) for g in gradients]), "mean")
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view(gradient.shape))

    def average_buffers(self, nets: nn.Module) -> None:
        """Make running statistics, which every process gathers from its own samples, one again."""
        if self.world_size == 1:
            return
        for buffer in nets.buffers():
            if buffer.is_floating_point():
                buffer.copy_(self.accelerator.reduce(buffer, "mean"))

    def gather(self, value: Any) -> list[Any]:
        """One `value` from each process, by rank."""
        return [value] if self.world_size == 1 else gather_object([value])

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()
