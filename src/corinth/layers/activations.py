"""Activations and gates of convolutional networks by their names."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "relu6", "swish", "hard_swish"]
Gate = Literal["sigmoid", "hard_sigmoid"]


class Swish(nn.Module):
    """x * sigmoid(x), in place where no gradient is wanted: that one needs x."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x, inplace=not torch.is_grad_enabled())


class HardSwish(nn.Module):
    """x * relu6(x + 3) / 6, in place where no gradient is wanted: that one needs x."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x, inplace=not torch.is_grad_enabled())


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "relu6": partial(nn.ReLU6, inplace=True),
    "swish": Swish,
    "hard_swish": HardSwish,
}
GATES: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "hard_sigmoid": nn.Hardsigmoid}
KERNELS: dict[type[nn.Module], int] = {nn.Identity: 0, nn.ReLU: 1, nn.ReLU6: 2, Swish: 3, HardSwish: 4}  # maps.cpp's
