"""What the mobile networks (MobileNet, EfficientNet, MixNet) are made of.

Convolution with batch norm and activation, optionally padded as TensorFlow's "SAME" does; squeeze-and-excitation;
stochastic depth; the rounding of scaled widths; the initialisation of TensorFlow's own implementations.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import filters, native, onednn
from corinth.layers.activations import ACTIVATIONS, GATES, KERNELS, Activation, Gate
from corinth.layers.depthwise import depthwise
from corinth.layers.gating import excited, gated
from corinth.layers.norm_act import NormAct, is_watched
from corinth.layers.sizes import same_padding

SMALL_MAP = 20480  # values up to which torch keeps a dilated convolution of one sample from oneDNN


def round_width(width: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `width`, the next one up where that is less than 90 % of it."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def same_padded(x: Tensor, conv: nn.Conv2d) -> tuple[Tensor, tuple[int, int]]:
    """The map and what is left for the convolution to pad: an odd number of zeros costs a padded copy."""
    height, width = x.shape[-2:]
    top, bottom = same_padding(height, conv.kernel_size[0], conv.stride[0])
    left, right = same_padding(width, conv.kernel_size[1], conv.stride[1])
    if top == bottom and left == right:
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom)), (0, 0)


class Conv2d(nn.Conv2d):
    """A convolution that takes the scale and shift of a batch norm into its weights; see `NormAct`."""

    @property
    def taps(self) -> int:
        """Weights that make one output value."""
        return self.weight.numel() // self.out_channels

    def scaled(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """conv(x) * scale + shift, of a convolution without bias."""
        return self._conv_forward(x, self.weight * scale.view(-1, 1, 1, 1), shift)


class SameConv2d(Conv2d):
    """A strided convolution that pads as TensorFlow's "SAME": by what the input's size needs."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, padding = same_padded(input, self)
        return F.conv2d(x, weight, bias, self.stride, padding, groups=self.groups)


class DepthwiseConv2d(Conv2d):
    """One kernel a channel, without bias; `same` pads larger strides as `SameConv2d` does."""

    def __init__(self, chans: int, kernel: int, stride: int = 1, *, same: bool = False) -> None:
        super().__init__(chans, chans, kernel, stride, kernel // 2, groups=chans, bias=False)
        self.same = same and stride > 1

    @property
    def depthwise_parts(self) -> tuple["DepthwiseConv2d", ...]:
        """The convolutions that it stands for, itself; none if it has become another than it was made as."""
        return (self,) if type(self) is DepthwiseConv2d and self.bias is None else ()

    def forward(self, input: Tensor) -> Tensor:
        weights = (self.weight,)
        if self.depthwise_parts and filters.suits(input, weights):
            return filters.filtered(input, weights, filters.window(input, (self,)))
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        half = self.kernel_size[0] // 2
        x, padding = same_padded(input, self) if self.same else (input, (half, half))
        return depthwise(x, weight, bias, (self.stride[0], self.stride[1]), padding)


class PointwiseConv2d(Conv2d):
    """A 1x1 convolution."""

    def __init__(self, in_chans: int, chans: int, *, bias: bool = False) -> None:
        super().__init__(in_chans, chans, 1, bias=bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return pointwise(input, weight, bias)

    def scaled_act(self, x: Tensor, scale: Tensor, shift: Tensor, act: nn.Module) -> Tensor:
        """`scaled`, and the activation behind it."""
        if type(act) in onednn.FUSED and onednn.suits(x, self.weight):
            return onednn.pointwise(x, self.weight * scale.view(-1, 1, 1, 1), shift, act)
        return act.forward(self.scaled(x, scale, shift))


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
    """A 1x1 convolution.

    torch leaves fewer than 16 samples on one thread to a matrix product that takes twice as long as oneDNN, but
    gives every dilated convolution of a map that is not small to oneDNN; the dilation of a single tap changes
    nothing. A map of one pixel is a linear layer, which costs less to call.
    """
    if x.is_cpu and x.ndim == 4 and not torch.compiler.is_compiling():
        batch, chans, height, width = x.shape
        if height == width == groups == 1:
            return F.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]
        if groups == 1 and onednn.suits(x, weight):
            return onednn.pointwise(x, weight, bias)
        values = batch * chans * height * width
        if batch < 16 and values > SMALL_MAP and x.dtype == torch.float32 and torch.get_num_threads() == 1:
            return F.conv2d(x, weight, bias, dilation=2, groups=groups)
    return F.conv2d(x, weight, bias, groups=groups)


def conv2d(in_chans: int, chans: int, kernel: int, stride: int = 1, *, groups: int = 1, same: bool = False) -> Conv2d:
    """A convolution without bias whose map keeps its size at stride 1; `same`: pads as TensorFlow does."""
    if groups == in_chans == chans:
        return DepthwiseConv2d(chans, kernel, stride, same=same)
    if kernel == stride == groups == 1:
        return PointwiseConv2d(in_chans, chans)
    if same and stride > 1:
        return SameConv2d(in_chans, chans, kernel, stride, groups=groups, bias=False)
    return Conv2d(in_chans, chans, kernel, stride, kernel // 2, groups=groups, bias=False)


class ConvNormAct(NormAct):
    """`NormAct` with its convolution given by its sizes."""

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
        conv = conv2d(in_chans, chans, kernel, stride, groups=groups, same=same)
        super().__init__(conv, chans, act, eps=eps, momentum=momentum)


class SqueezeExcite(nn.Module):
    """Hu et al. 2017 (1709.01507): scale each channel by a gate that sees the means of all channels."""

    def __init__(self, chans: int, width: int, *, act: Activation = "relu", gate: Gate = "sigmoid") -> None:
        super().__init__()
        self.reduce = PointwiseConv2d(chans, width, bias=True)
        self.act = ACTIVATIONS[act]()
        self.expand = PointwiseConv2d(width, chans, bias=True)
        self.gate = GATES[gate]()

    def forward(self, x: Tensor) -> Tensor:
        if native.suits(x) and not self._is_changed():
            layers: tuple[Any, Any] = (self.reduce, self.expand)
            weights = tuple(part for layer in layers for part in (layer.weight, layer.bias))
            reduce, reduce_bias, expand, expand_bias = weights
            width, chans = reduce.shape[0], x.shape[1]
            matrices = native.fits(width * chans, reduce, expand)
            if matrices and native.fits(width, reduce_bias) and native.fits(chans, expand_bias):
                if not torch.is_grad_enabled():
                    return excited(x, weights, KERNELS[type(self.act)], hard=isinstance(self.gate, nn.Hardsigmoid))
                if x.shape[0] >= torch.get_num_threads():
                    return gated(x, self._gates, weights)
        # (B, C, 1, 1); the gradient of a mean would be a map that is divided pixel by pixel
        means = x.sum((2, 3), keepdim=True) / (x.shape[-2] * x.shape[-1])
        return x * self.gate(self.expand(self.act(self.reduce(means))))

    def _is_changed(self) -> bool:
        """Whether its layers are not what they were made as, or something listens to them."""
        usual = (
            type(self.reduce) is type(self.expand) is PointwiseConv2d
            and type(self.act) in KERNELS
            and type(self.gate) in GATES.values()
            and self.reduce.bias is not None
            and self.expand.bias is not None
        )
        return not usual or any(is_watched(part) for part in self.children())

    def _gates(self, means: Tensor, *weights: Tensor) -> Tensor:
        reduce, reduce_bias, expand, expand_bias = weights
        hidden = self.act.forward(F.linear(means, reduce.flatten(1), reduce_bias))
        return self.gate.forward(F.linear(hidden, expand.flatten(1), expand_bias))


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


def zero_init_residual_(model: nn.Module) -> None:
    """Goyal et al. 2017 (1706.02677), section 5.1: every residual block starts as the identity.

    For blocks that have `is_residual` and end in `project`, a `NormAct`: its norm's weight becomes zero.
    """
    for block in model.modules():
        project: Any = getattr(block, "project", None)
        if getattr(block, "is_residual", False):
            nn.init.zeros_(project.norm.weight)
