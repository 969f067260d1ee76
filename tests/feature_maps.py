"""Maps for tests of the kernels in C++, what is learned of them, and how far two results are apart."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def map_of(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape).to(dtype).contiguous(memory_format=torch.channels_last)


def norm_of(chans: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(chans, eps=1e-3, momentum=0.3)
    for tensor in (*norm.parameters(), norm.running_mean, norm.running_var):
        assert tensor is not None
        nn.init.uniform_(tensor, 0.5, 1.5)
    return norm


def learned(run: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """The result, and the gradients of x and the weights along `direction`."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = run(x)
    return y.detach(), *torch.autograd.grad((y * direction).sum(), (x, *weights))


def distance(got: Tensor, want: Tensor) -> float:
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).norm() / want.norm().clamp(min=1e-9))
