"""Matrix products by the routine for linear layers that is the fastest here, oneDNN's or torch's own."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import native
from corinth.layers.activations import HardSwish, Swish

FEW = 4  # images up to which a call of torch's convolution costs more than the product itself
FUSED: dict[type[nn.Module], tuple[str, list[Any]]] = {  # oneDNN's names of activations, and their numbers
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    Swish: ("swish", []),
    HardSwish: ("hardswish", []),
}
NO_ACT = nn.Identity()


def takes(values: Tensor) -> bool:
    """Whether oneDNN may be asked for a product of these values in single precision."""
    here = values.device.type == "cpu" and values.dtype == torch.float32
    return here and torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)


def knows_bfloat16() -> bool:
    """Whether oneDNN has all its routines, torch's LSTM among them, in bfloat16 on this processor."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether `pointwise` takes the map x (B, C, H, W), without gradient, and in less time than a convolution."""
    return (
        native.is_plain()
        and not torch.is_grad_enabled()
        and type(x) is Tensor
        and x.ndim == 4
        and x.shape[0] <= FEW
        and x.shape[1] == weight.shape[1]
        and takes(x)
        and x.is_contiguous(memory_format=torch.channels_last)
        and weight.dtype == torch.float32
        and weight.is_cpu
        and not torch.is_autocast_enabled("cpu")
    )


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, act: nn.Module = NO_ACT) -> Tensor:
    """A 1x1 convolution of a map (B, C, H, W) in `channels_last`, and one of `FUSED` behind it: a product of pixels.

    By oneDNN, but on AVX2 by MKL, which is the faster one there.
    """
    batch, chans, height, width = x.shape
    rows, matrix = x.permute(0, 2, 3, 1).view(-1, chans), weight.flatten(1)
    if torch.backends.cpu.get_cpu_capability() == "AVX2" and torch.backends.mkl.is_available():
        y = act.forward(F.linear(rows, matrix, bias))
    else:
        y = torch.ops.mkldnn._linear_pointwise.default(rows, matrix, bias, *FUSED[type(act)], "")
    return y.view(batch, height, width, weight.shape[0]).permute(0, 3, 1, 2)
