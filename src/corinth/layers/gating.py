"""Maps whose channels are scaled by gates that see the means of all channels, in few passes over the map."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from corinth.layers import native

Gates = Callable[..., Tensor]  # means (B, C) and weights to gates (B, C); a function of these alone


def gated(x: Tensor, gates: Gates, weights: tuple[Tensor, ...]) -> Tensor:
    """x (B, C, H, W) times `gates(means of x, *weights)`, for a map that `native.suits`.

    Two passes over the map, and two on the way back, where autograd takes four for the gradients of product and mean.
    The gates are worked out in single precision, also under autocast.
    """
    return _Gated.apply(gates, x, *weights)


def excited(x: Tensor, weights: tuple[Tensor, ...], act: int, *, hard: bool) -> Tensor:
    """`gated` by two layers, without gradient: `weights` are (width, C), (width), (C, width), (C), as 1x1 kernels."""
    y = torch.empty_like(x)
    native.call("excite", native.is_low(x), act, hard, x, *weights, weights[0].shape[0], y, *_sizes(x))
    return y


def _written_out(gates: Gates, x: Tensor, *weights: Tensor) -> Tensor:
    """`gated` as it reads."""
    with torch.autocast("cpu", enabled=False):
        return x * gates(x.float().mean((2, 3)), *weights)[:, :, None, None].to(x.dtype)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Gates, x: Tensor, *weights: Tensor) -> Tensor:
        means = x.new_empty(x.shape[:2], dtype=torch.float32)
        low, sizes = native.is_low(x), _sizes(x)
        native.call("image_sums", low, x, None, means, *sizes)
        means /= sizes[1]
        with torch.autocast("cpu", enabled=False):
            scale = gates(means, *weights).contiguous()
        y = torch.empty_like(x)
        native.call("image_scale", low, x, scale, None, y, *sizes)
        ctx.save_for_backward(x, means, scale, *weights)
        ctx.gates = gates
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, means, scale, *weights = ctx.saved_tensors
        if not native.is_for_kernels(grads[0], x):
            with torch.enable_grad():
                y = _written_out(ctx.gates, x, *weights)
            return None, *native.gradients(y, (x, *weights), grads[0], ctx.needs_input_grad[1:])
        x, grad, low, sizes = native.dense(x), native.dense(grads[0]), native.is_low(x), _sizes(x)
        of_scale, of_x = torch.empty_like(scale), torch.empty_like(x)
        native.call("image_sums", low, x, grad, of_scale, *sizes)
        with torch.enable_grad(), torch.autocast("cpu", enabled=False):
            inputs = [value.detach().requires_grad_() for value in (means, *weights)]
            of_means, *of_weights = torch.autograd.grad(ctx.gates(*inputs), inputs, of_scale)
        native.call("image_scale", low, grad, scale, (of_means / sizes[1]).contiguous(), of_x, *sizes)
        return None, of_x, *of_weights


def _sizes(x: Tensor) -> tuple[int, int, int]:
    """Images, pixels of each, channels."""
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]
