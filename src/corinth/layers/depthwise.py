"""Depthwise convolutions by torch's operators, where `filters` does not take them: other layouts, no C++ compiler.

On a CPU their gradients avoid the slow routines of torch and oneDNN.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

STRIP_WIDTH = 3  # columns of a kernel up to which oneDNN has a good routine for the gradient of its weight
Pair = tuple[int, int]


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
    """F.conv2d with one kernel (C, 1, k, k) for each channel of x (B, C, H, W)."""
    if x.is_cpu and bias is None and (x.requires_grad or weight.requires_grad) and _is_plain_autograd():
        if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:  # which autocast leaves alone
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        if weight.shape[-1] > STRIP_WIDTH or _is_low_and_strided(x, stride):
            return _Depthwise.apply(_dense(x), weight, stride, padding)
    return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))


def _is_plain_autograd() -> bool:
    """Neither a trace by torch.jit nor a transform of torch.func nor forward differentiation, which know torch's
    operators only; torch.compile follows the strips."""
    followed = torch.jit.is_tracing() or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    return torch.is_grad_enabled() and not followed


def _is_low_and_strided(x: Tensor, stride: Pair) -> bool:
    return x.dtype.itemsize < 4 and stride != (1, 1)


class _Depthwise(torch.autograd.Function):
    """The gradient of the weight in strips of two or three columns, of the input at a stride in single precision.

    In one call the weight of a 5x5 kernel takes several times as long as in two strips, of an 11x11 ten times as
    long as in four. In bfloat16 the gradient of a strided convolution's input takes thirty times as long as in
    float32, and more with larger kernels.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # ty: ignore
        x, weight = ctx.saved_tensors
        where = ctx.stride, ctx.padding
        if torch.is_grad_enabled():  # a derivative of this gradient is wanted: torch's own has one
            return *_gradients(grad, x, weight, *where, ctx.needs_input_grad[:2]), None, None
        grad = _dense(grad)
        of_x = _input_gradient(grad, x, weight, *where) if ctx.needs_input_grad[0] else None
        of_weight = _weight_gradient(grad, x, weight, *where) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, None, None


def _dense(x: Tensor) -> Tensor:
    """A part of the channels as a tensor of its own, once, where each convolution would copy it."""
    return x.contiguous(memory_format=torch.channels_last if x.stride(1) == 1 else torch.contiguous_format)


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor | None:
    if not _is_low_and_strided(x, stride):
        return _gradients(grad, x, weight, stride, padding, (True, False))[0]
    shape = torch.empty_like(x, dtype=torch.float32)  # its values play no part
    of_x, _ = _gradients(grad.float(), shape, weight.float(), stride, padding, (True, False))
    return None if of_x is None else of_x.to(x.dtype)


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor | None:
    rows, columns = weight.shape[-2:]
    if columns <= STRIP_WIDTH:
        return _gradients(grad, x, weight, stride, padding, (False, True))[1]
    height, width = ((n - 1) * step for n, step in zip(grad.shape[-2:], stride))
    below = height + rows - padding[0] - x.shape[-2]  # zeros; rows that no window reaches where negative
    parts, first = [], 0
    for strips_left in range(-(-columns // STRIP_WIDTH), 0, -1):
        last = first - (first - columns) // strips_left
        start, end = first - padding[1], last + width - padding[1]  # the columns of x that this strip sees
        seen = x[..., max(start, 0) : max(end, 0)]
        left = min(max(-start, 0), end - start)
        seen = F.pad(seen, (left, end - start - left - seen.shape[-1], padding[0], below))
        parts.append(_gradients(grad, seen, weight[..., first:last], stride, (0, 0), (False, True))[1])
        first = last
    return torch.cat(parts, dim=-1)


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """torch's gradients of a depthwise convolution, of its input and of its weight."""
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), (*wanted, False)
    )
    return of_x, of_weight
