"""What the Inception networks with batch norm are made of: convolution units, chains of them, concatenated branches.

A figure of the papers is written down as its branches, each from the bottom to the top:
`Mixed(ConvUnit(768, 192, 1), chain(768, Conv(128, 1), Conv(128, (1, 7)), Conv(192, (7, 1))), PoolProj(768, 192))`.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers.init import scaled_normal_
from corinth.layers.norm_act import norm_relu
from corinth.layers.sizes import smallest, window_out

Kernel = int | tuple[int, int]  # (1, 7): one row of seven, the papers' "1x7"
STEM_CHANS = 192


class ConvUnit(nn.Module):
    """Convolution, batch norm, ReLU in place.

    At stride 1 the map keeps its size; `valid` means no padding at all, marked "V" in the figures of 1602.07261.
    """

    def __init__(
        self,
        in_chans: int,
        chans: int,
        kernel: Kernel,
        stride: int = 1,
        *,
        valid: bool = False,
        bias: bool = False,
        eps: float = 1e-3,
    ) -> None:
        super().__init__()
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        padding = (0, 0) if valid else (height // 2, width // 2)
        self.conv = nn.Conv2d(in_chans, chans, (height, width), stride, padding, bias=bias)
        self.norm = nn.BatchNorm2d(chans, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return norm_relu(self.conv(x), self.norm)


class PoolProj(ConvUnit):
    """3x3 average pool and 1x1 projection, with the projection first.

    Without a bias the two commute, and this way round fewer channels are pooled. `count_pad`: the zeros around the
    map count in its averages.
    """

    def __init__(self, in_chans: int, chans: int, *, count_pad: bool = True) -> None:
        super().__init__(in_chans, chans, 1)
        self.count_pad = count_pad

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(self.conv(x), 3, stride=1, padding=1, count_include_pad=self.count_pad)
        return norm_relu(x, self.norm)


class Conv(NamedTuple):
    """One unit of a chain."""

    chans: int
    kernel: Kernel
    stride: int = 1
    valid: bool = False


class Fork(nn.Module):
    """A branch that ends in a 1x3 and a 3x1 convolution side by side, two maps of `chans` channels."""

    def __init__(self, in_chans: int, chans: int) -> None:
        super().__init__()
        self.wide = ConvUnit(in_chans, chans, (1, 3))
        self.tall = ConvUnit(in_chans, chans, (3, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.wide(x), self.tall(x)


def chain(in_chans: int, *convs: Conv, fork: int | None = None, bias: bool = False, eps: float = 1e-3) -> nn.Sequential:
    """Convolution units in a row, with `fork` channels for a `Fork` at the end."""
    units: list[nn.Module] = []
    for chans, kernel, stride, valid in convs:
        units.append(ConvUnit(in_chans, chans, kernel, stride, valid=valid, bias=bias, eps=eps))
        in_chans = chans
    if fork is not None:
        units.append(Fork(in_chans, fork))
    return nn.Sequential(*units)


class Mixed(nn.Module):
    """Branches over one map, concatenated along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for branch in self.branches:
            out = branch(x)
            maps += out if isinstance(out, tuple) else (out,)
        return torch.cat(maps, dim=1)


def stem(in_chans: int) -> nn.Sequential:
    """The layers before the first module of Inception-v3 and Inception-ResNet-v2: 299 pixels to a map of 35."""
    return nn.Sequential(
        ConvUnit(in_chans, 32, 3, 2, valid=True),
        ConvUnit(32, 32, 3, valid=True),
        ConvUnit(32, 64, 3),
        nn.MaxPool2d(3, 2),
        ConvUnit(64, 80, 1),
        ConvUnit(80, STEM_CHANS, 3, valid=True),
        nn.MaxPool2d(3, 2),
    )


def last_side(size: int) -> int:
    """Side of the last map of Inception-v3, v4 and Inception-ResNet-v2, less than 1 for too small an image.

    All three shrink it by the same seven 3x3 windows without padding: five before the first module, one in each
    reduction.
    """
    for stride in (2, 1, 2, 1, 2, 2, 2):
        size = window_out(size, 3, stride)
    return size


def classifier(features: int, num_classes: int) -> nn.Module:
    """A fresh linear classifier, or nothing for 0 classes."""
    head = nn.Linear(features, num_classes) if num_classes else nn.Identity()
    scaled_normal_(head)
    return head


MIN_SIZE = smallest(lambda size: last_side(size) >= 1)
