"""Depthwise convolutions of one size of kernel or several, each for its group of channels, in one pass over the map."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import native
from corinth.layers.activations import KERNELS
from corinth.layers.sizes import same_padding

MOST_KEPT = 4096  # sizes of maps whose numbers are not worked out again
FEW = 4  # images up to which one size of kernel takes less time than torch's convolution


@dataclass(frozen=True)
class Window:
    """What the kernels of a convolution see: `starts` are the zeros above and before the map, for each group."""

    rows: int  # of the result
    columns: int
    stride: int
    starts: tuple[tuple[int, int], ...]


def suits(x: Tensor, weights: tuple[Tensor, ...]) -> bool:
    """Whether `filtered` can take the map, as it is under autocast, with these weights of all its channels."""
    if not native.suits(x) or (torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") != torch.bfloat16):
        return False
    right = all(native.fits(weight.shape[0] * weight.shape[-1] ** 2, weight) for weight in weights)
    return right and sum(weight.shape[0] for weight in weights) == x.shape[1]


def is_faster(x: Tensor, groups: int) -> bool:
    """Whether the result, not its gradient, comes sooner than by torch's convolution."""
    return groups > 1 or x.shape[0] <= FEW


def window(x: Tensor, convs: Sequence[Any]) -> Window:
    """What `DepthwiseConv2d`s of one stride see of the map."""
    kernels = tuple(conv.kernel_size[0] for conv in convs)
    return _window(x.shape[2], x.shape[3], kernels, convs[0].stride[0], convs[0].same)


@functools.lru_cache(maxsize=MOST_KEPT)
def _window(height: int, width: int, kernels: tuple[int, ...], stride: int, same: bool) -> Window:
    if same:
        starts = ((same_padding(height, k, stride)[0], same_padding(width, k, stride)[0]) for k in kernels)
        return Window(-(-height // stride), -(-width // stride), stride, tuple(starts))
    half = kernels[0] // 2
    rows, columns = ((size + 2 * half - kernels[0]) // stride + 1 for size in (height, width))
    return Window(rows, columns, stride, tuple((kernel // 2, kernel // 2) for kernel in kernels))


def filtered(x: Tensor, weights: tuple[Tensor, ...], window: Window) -> Tensor:
    """Groups of channels of x (B, C, H, W), each with its kernels (channels, 1, k, k): (B, C, rows, columns).

    One call for all groups, which are neither cut out nor padded nor joined. Gradients take fractions of the time of
    torch's, above all those of large kernels and in bfloat16.
    """
    return _Filtered.apply(window, _cast(x), *weights)


def filtered_norm_act(
    x: Tensor, weights: tuple[Tensor, ...], window: Window, norm: tuple[Any, ...], act: int
) -> Tensor:
    """`filtered`, batch norm that is not in training, and the activation of that number; without gradient.

    `norm` is its weight, bias, mean and variance (C), and epsilon.
    """
    return _forward(_cast(x), weights, window, norm, act)


def _cast(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") else x


def _forward(
    x: Tensor,
    weights: tuple[Tensor, ...],
    window: Window,
    norm: tuple[Any, ...] = (None, None, None, None, 0.0),
    act: int = KERNELS[nn.Identity],
) -> Tensor:
    shape = (*x.shape[:2], window.rows, window.columns)
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    where = *_numbers(x, window, weights), native.addresses(weights)
    native.call("depthwise_forward", native.is_low(x), act, x, *where, *norm, y)
    return y


class _Filtered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, window: Window, x: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, *weights)
        ctx.window = window
        return _forward(x, weights, window) if is_faster(x, len(weights)) else _written_out(x, weights, window)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        if not native.is_for_kernels(grads[0], x):
            with torch.enable_grad():
                y = _written_out(x, weights, ctx.window)
            return None, *native.gradients(y, (x, *weights), grads[0], ctx.needs_input_grad[1:])
        x, grad, numbers = native.dense(x), native.dense(grads[0]), _numbers(x, ctx.window, weights)
        of_x, of_weights = None, [None] * len(weights)
        if ctx.needs_input_grad[1]:
            of_x = torch.empty_like(x)
            native.call("depthwise_input_gradient", native.is_low(x), grad, *numbers, native.addresses(weights), of_x)
        if any(ctx.needs_input_grad[2:]):
            of_weights = [torch.empty_like(weight) for weight in weights]
            native.call("depthwise_weight_gradient", native.is_low(x), x, grad, *numbers, native.addresses(of_weights))
        return None, of_x, *of_weights


def _numbers(x: Tensor, window: Window, weights: Sequence[Tensor]) -> tuple[Any, int, Any]:
    """The sizes, the number of groups and theirs, as native/maps.cpp takes them."""
    return _arrays(x.shape, window, tuple((weight.shape[0], weight.shape[-1]) for weight in weights))


@functools.lru_cache(maxsize=MOST_KEPT)
def _arrays(shape: torch.Size, window: Window, groups: tuple[tuple[int, int], ...]) -> tuple[Any, int, Any]:
    batch, chans, height, width = shape
    sizes = (batch, height, width, chans, window.rows, window.columns, window.stride)
    by_group = (number for group, start in zip(groups, window.starts, strict=True) for number in (*group, *start))
    return native.whole(*sizes), len(groups), native.whole(*by_group)


def _written_out(x: Tensor, weights: Any, window: Window) -> Tensor:
    """`filtered` by torch's operators."""
    height, width = x.shape[-2:]
    parts = []
    for part, weight, (top, left) in zip(x.split([len(weight) for weight in weights], dim=1), weights, window.starts):
        kernel = weight.shape[-1]
        below = (window.rows - 1) * window.stride + kernel - height - top  # negative: rows that no window reaches
        behind = (window.columns - 1) * window.stride + kernel - width - left
        even = (kernel // 2, kernel // 2) == (top, left) and below <= top and behind <= left
        padded = part if even else F.pad(part, (left, behind, top, below))
        padding = kernel // 2 if even else 0
        parts.append(F.conv2d(padded, weight.to(x.dtype), None, window.stride, padding, groups=len(weight)))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
