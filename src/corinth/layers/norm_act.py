"""Batch norm and the activation behind it, in as few passes over the map as they need."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import (
    _global_backward_hooks,
    _global_backward_pre_hooks,
    _global_forward_hooks,
    _global_forward_pre_hooks,
)

from corinth.layers import filters, native
from corinth.layers.activations import ACTIVATIONS, KERNELS, Activation

WORTH_FOLDING = 2**16  # values from which a pass of batch norm over a map takes longer than scaling the weights
WORTH_EVALUATING = 2**16  # values from which a norm that is not in training is worth asking all that a kernel needs


def is_watched(module: nn.Module) -> bool:
    """Whether hooks wait for a call of this module, or its call was replaced, so that it must be called as one."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    of_all = _global_forward_hooks or _global_forward_pre_hooks or _global_backward_hooks or _global_backward_pre_hooks
    return bool(hooks or of_all or module._compiled_call_impl or "forward" in module.__dict__)


def norm_act(x: Tensor, norm: nn.Module, act: nn.Module) -> Tensor:
    """act(norm(x)) of a map x (B, C, H, W).

    On a CPU the two are one kernel, in training and where only the result is wanted. In training it passes over the map
    twice where torch does four times, on the way back twice for three times, and keeps the map for its gradient, not
    what the norm makes of it as well.
    """
    if _is_kernel(x, norm) and type(act) in KERNELS and not is_watched(act):
        return _by_kernel(x, norm, KERNELS[type(act)])
    return act(norm(x))


def norm_relu(x: Tensor, norm: nn.Module) -> Tensor:
    """`norm_act` with a ReLU."""
    return _by_kernel(x, norm, KERNELS[nn.ReLU]) if _is_kernel(x, norm) else F.relu(norm(x), inplace=True)


def _is_kernel(x: Tensor, norm: Any) -> bool:
    """Whether the norm is an ordinary one, of this process's batch and with a moving average, on a map that suits."""
    if type(norm) is not nn.BatchNorm2d or norm.training != torch.is_grad_enabled() or not native.suits(x):
        return False
    if norm.training and (norm.momentum is None or not norm.track_running_stats or x.numel() == x.shape[1]):
        return False  # one value of each channel has no variance
    if not norm.training and x.numel() < WORTH_EVALUATING:
        return False
    return not is_watched(norm) and native.fits(x.shape[1], *_tensors(norm))


def _tensors(norm: nn.Module) -> tuple[Any, ...]:
    """Weight, bias, mean and variance."""
    own, kept = norm._parameters, norm._buffers
    return own["weight"], own["bias"], kept["running_mean"], kept["running_var"]


def _by_kernel(x: Tensor, norm: Any, act: int) -> Tensor:
    return _train(x, norm, act) if norm.training else _evaluate(x, norm, act)


def _train(x: Tensor, norm: Any, act: int) -> Tensor:
    count = x.numel() // x.shape[1]
    y, kept = _NormAct.apply(act, norm.eps, x, norm.weight, norm.bias)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(kept[0], norm.momentum)
    norm.running_var.lerp_(kept[1] * (count / (count - 1)), norm.momentum)
    return y


def _evaluate(x: Tensor, norm: Any, act: int) -> Tensor:
    y, low = torch.empty_like(x), native.is_low(x)
    native.call("norm_act_evaluate", low, act, x, *_tensors(norm), norm.eps, y, *_sizes(x))
    return y


class _NormAct(torch.autograd.Function):
    """The two of a map (B, C, H, W); beside them what the kernel keeps: first mean and variance, (5, C)."""

    @staticmethod
    def forward(ctx: Any, act: int, eps: float, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        y, kept = torch.empty_like(x), weight.new_empty(5, len(weight))
        native.call("norm_act_forward", native.is_low(x), act, x, weight, bias, eps, y, kept, *_sizes(x))
        ctx.save_for_backward(x, weight, bias, kept)
        ctx.act, ctx.eps = act, eps
        ctx.mark_non_differentiable(kept)
        ctx.set_materialize_grads(False)
        return y, kept

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        x, weight, bias, kept = ctx.saved_tensors
        grad: Tensor | None = grads[0]
        if grad is None:
            return (None,) * 5
        if not native.is_for_kernels(grad, x):
            return None, None, *_by_autograd(ctx, grad, x, weight, bias)
        low, x, grad = native.is_low(x), native.dense(x), native.dense(grad)
        of_x = torch.empty_like(x) if ctx.needs_input_grad[2] else None
        of_weight, of_bias = torch.empty_like(weight), torch.empty_like(bias)
        native.call("norm_act_backward", low, ctx.act, x, grad, kept, of_x, of_weight, of_bias, *_sizes(x))
        return None, None, of_x, of_weight, of_bias


def _sizes(x: Tensor) -> tuple[int, int]:
    """Pixels and channels."""
    return x.numel() // x.shape[1], x.shape[1]


def _by_autograd(ctx: Any, grad: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients by torch's operators, which can be differentiated again."""
    act = next(kind for kind, number in KERNELS.items() if number == ctx.act)()
    x, weight, bias = inputs
    with torch.enable_grad():
        y = act(F.batch_norm(x, None, None, weight, bias, training=True, eps=ctx.eps))
    return native.gradients(y, inputs, grad, ctx.needs_input_grad[2:])


class NormAct(nn.Module):
    """A convolution without bias, batch norm, an activation (none: linear) that works in place.

    `conv` is one of `corinth.layers.mobile`, or has their `taps`, `stride` and `scaled`. Where only the result is
    wanted, the norm of a large map goes into the convolution's weights, which saves a pass over the map.
    """

    def __init__(
        self, conv: nn.Module, chans: int, act: Activation | None, *, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm: nn.Module = nn.BatchNorm2d(chans, eps=eps, momentum=momentum)
        self.act = ACTIVATIONS[act]() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:  # (B, in_chans, H, W) to (B, chans, H/stride, W/stride)
        plain = torch.is_grad_enabled() or self.training or not x.is_cpu or x.ndim != 4
        if plain or torch.compiler.is_compiling():
            return norm_act(self.conv(x), self.norm, self.act)
        return self._infer(x)

    def _infer(self, x: Tensor) -> Tensor:
        """The same without gradients, in fewer calls where nothing listens to them: those count with few images."""
        own = self._modules
        conv: Any = own["conv"]
        norm: Any = own["norm"]
        act: Any = own["act"]
        if type(norm) is not nn.BatchNorm2d or norm.training or any(map(is_watched, (conv, norm, act))):
            return act(norm(conv(x)))
        weight, bias, mean, var = tensors = _tensors(norm)
        if weight is None or bias is None or mean is None:
            return act(norm(conv(x)))
        number = KERNELS.get(type(act)) if native.suits(x) and native.fits(weight.shape[0], *tensors) else None
        if number is not None and x.shape[1] == weight.shape[0]:
            parts = getattr(conv, "depthwise_parts", ())
            kernels = tuple(part.weight for part in parts)
            if parts and filters.is_faster(x, len(parts)) and filters.suits(x, kernels):
                return filters.filtered_norm_act(x, kernels, filters.window(x, parts), (*tensors, norm.eps), number)
        if self._folds(x, conv, weight):
            scale = weight * torch.rsqrt(var + norm.eps)
            shift = torch.addcmul(bias, mean, scale, value=-1)
            if hasattr(conv, "scaled_act"):
                return conv.scaled_act(x, scale, shift, act)
            return act.forward(conv.scaled(x, scale, shift))
        y = conv.forward(x)
        if number is not None and native.suits(y) and y.shape[1] == weight.shape[0]:
            return _evaluate(y, norm, number)
        return act.forward(torch.batch_norm(y, weight, bias, mean, var, False, 0.0, norm.eps, False))

    def _folds(self, x: Tensor, conv: Any, weight: Tensor) -> bool:
        """Whether the convolution's weights can be scaled, and are less to scale than the map."""
        if not hasattr(conv, "scaled") or getattr(conv, "bias", None) is not None:
            return False
        positions = x.shape[0] * x.shape[-2] * x.shape[-1] // conv.stride[0] ** 2
        if positions * weight.shape[0] < WORTH_FOLDING or positions < 4 * conv.taps:
            return False  # before all that costs more to ask
        if not getattr(conv, "depthwise_parts", True):  # one of them has become another
            return False
        return weight.dtype.itemsize >= 4 and all(part.dtype == weight.dtype for part in conv.parameters())
