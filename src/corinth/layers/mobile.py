"""What the mobile networks (MobileNet, EfficientNet, MixNet) are made of.

Convolution with batch norm and activation, optionally padded as TensorFlow's "SAME" does; squeeze-and-excitation;
stochastic depth; the rounding of scaled widths; the initialisation of TensorFlow's own implementations.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "relu6", "swish", "hard_swish"]
Gate = Literal["sigmoid", "hard_sigmoid"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "swish": nn.SiLU,
    "hard_swish": nn.Hardswish,
}
GATES: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "hard_sigmoid": nn.Hardsigmoid}


def round_width(width: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `width`, the next one up where that is less than 90 % of it."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind `size` pixels so that ceil(size / stride) windows fit; the odd one goes behind."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A strided convolution that pads as TensorFlow's "SAME": by what the input's size needs.

    An odd number of zeros costs a padded copy of the input; an even number is left to the convolution.
    """

    def forward(self, input: Tensor) -> Tensor:
        height, width = input.shape[-2:]
        top, bottom = same_padding(height, self.kernel_size[0], self.stride[0])
        left, right = same_padding(width, self.kernel_size[1], self.stride[1])
        padding = (top, left)
        if top != bottom or left != right:
            input, padding = F.pad(input, (left, right, top, bottom)), (0, 0)
        return F.conv2d(input, self.weight, self.bias, self.stride, padding, groups=self.groups)


def conv2d(
    in_chans: int,
    chans: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    bias: bool = False,
    same: bool = False,
) -> nn.Conv2d:
    """A convolution whose map keeps its size at stride 1; `same`: pads at larger strides as TensorFlow does."""
    if same and stride > 1:
        return SameConv2d(in_chans, chans, kernel, stride, groups=groups, bias=bias)
    return nn.Conv2d(in_chans, chans, kernel, stride, kernel // 2, groups=groups, bias=bias)


class ConvNormAct(nn.Module):
    """Convolution without bias, batch norm, activation (none: linear). The activation works in place."""

    def __init__(
        self,
        in_chans: int,
        chans: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        act: Activation | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,  # of the running statistics: the weight of the new batch
        same: bool = False,
    ) -> None:
        super().__init__()
        self.conv: nn.Module = conv2d(in_chans, chans, kernel, stride, groups=groups, same=same)
        self.norm = nn.BatchNorm2d(chans, eps=eps, momentum=momentum)
        self.act = ACTIVATIONS[act](inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, chans, H/stride, W/stride)
        return self.act(self.norm(self.conv(x)))


class SqueezeExcite(nn.Module):
    """Hu et al. 2017 (1709.01507): scale each channel by a gate that sees the means of all channels."""

    def __init__(self, chans: int, width: int, *, act: Activation = "relu", gate: Gate = "sigmoid") -> None:
        super().__init__()
        self.reduce = nn.Conv2d(chans, width, 1)
        self.act = ACTIVATIONS[act](inplace=True)
        self.expand = nn.Conv2d(width, chans, 1)
        self.gate = GATES[gate]()

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        return x * self.gate(self.expand(self.act(self.reduce(means))))


class StochasticDepth(nn.Module):
    """Huang et al. 2016 (1603.09382): while training, drop a sample's residual branch with probability `rate`.

    What is kept is scaled by 1 / (1 - rate), so evaluation needs no correction. Works in place.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = torch.empty((len(x), *(1,) * (x.ndim - 1)), dtype=x.dtype, device=x.device)
        return x.mul_(keep.bernoulli_(1 - self.rate).div_(1 - self.rate))


def classifier(num_features: int, num_classes: int) -> nn.Module:
    """A linear classifier, initialised; nothing for 0 classes."""
    if not num_classes:
        return nn.Identity()
    head = nn.Linear(num_features, num_classes)
    init_mobile_(head)
    return head


def init_mobile_(module: nn.Module) -> None:
    """As TensorFlow's implementations of these papers start, which the papers leave open.

    Convolutions from N(0, 2 / fan-out), where the fan-out of a group counts its own outputs only; linear layers
    uniform in +-1/sqrt(outputs); biases zero; norms as the identity.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / fan_out))
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.out_features)
            nn.init.uniform_(layer.weight, -bound, bound)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
