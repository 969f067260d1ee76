"""Depthwise convolutions against torch's own, gradients above all."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from corinth.layers.depthwise import depthwise


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 7, 11])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 2), (3, 3), (8, 4), (9, 12)])
@pytest.mark.parametrize("padding", [0, 1])
def test_gradients_of_wide_depthwise_kernels(kernel: int, stride: int, size: tuple[int, int], padding: int) -> None:
    """The strips of columns together are torch's own gradient; padding is as little and as much as is usual."""
    pad = (kernel // 2, kernel - 1) if padding else (kernel // 2, kernel // 2)
    wide = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    x = wide[:, 2:5]  # a part of the channels, as a MixConv has them
    weight = torch.randn(3, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(x, weight, None, stride, pad, groups=3)
    ours = depthwise(x, weight, None, (stride, stride), pad)
    assert torch.equal(ours, plain)
    direction = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, (wide, weight), direction)
    for got, want in zip(torch.autograd.grad(ours, (wide, weight), direction), expected):
        torch.testing.assert_close(got, want)


def test_wide_depthwise_kernels_have_second_derivatives_and_no_needless_ones() -> None:
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, weight: Tensor) -> Tensor:
        return depthwise(x, weight, None, (2, 2), (2, 2))

    assert torch.autograd.gradcheck(run, (x, weight))
    assert torch.autograd.gradgradcheck(run, (x, weight))
    wide = torch.randn(2, 5, 6, 6, dtype=torch.float64, requires_grad=True)  # a MixConv gives it a part of the channels
    assert torch.autograd.gradgradcheck(lambda x, weight: run(x[:, 2:4], weight), (wide, weight))
    run(x.detach(), weight).sum().backward()
    assert x.grad is None
    assert weight.grad is not None


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_mixed_precision(kernel: int, stride: int) -> None:
    """The forward pass is torch's to the bit; gradients are no worse than bfloat16's own."""
    torch.manual_seed(0)
    x = torch.randn(4, 16, 9, 9).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(16, 1, kernel, kernel, requires_grad=True)
    where, pad = (stride, stride), (kernel // 2, kernel // 2)
    exact = F.conv2d(x, weight, None, where, pad, groups=16)
    direction = torch.randn_like(exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = depthwise(x, weight, None, where, pad)
        assert ours.dtype == torch.bfloat16
        assert torch.equal(ours, F.conv2d(x, weight, None, where, pad, groups=16))
    gradients = torch.autograd.grad((ours * direction).sum(), (x, weight))
    for got, want in zip(gradients, torch.autograd.grad(exact, (x, weight), direction)):
        assert got.dtype == torch.float32
        assert float((got - want).norm() / want.norm()) < 0.02


def test_transforms_and_traces_see_torchs_own_operator() -> None:
    x, weight = torch.randn(2, 3, 8, 8), torch.randn(3, 1, 5, 5, requires_grad=True)

    def loss(weight: Tensor) -> Tensor:
        return depthwise(x, weight, None, (1, 1), (2, 2)).square().sum()

    expected = torch.autograd.grad(loss(weight), weight)[0]
    assert torch.allclose(torch.func.grad(loss)(weight.detach()), expected, rtol=1e-4, atol=1e-4)
    traced = torch.export.export(Doubled(), (x,)).module()
    assert torch.allclose(traced(x), Doubled()(x), atol=1e-5)


class Doubled(torch.nn.Module):
    """A module around `depthwise`, to be exported with gradients on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3, 1, 5, 5))

    def forward(self, x: Tensor) -> Tensor:
        return 2 * depthwise(x, self.weight, None, (1, 1), (2, 2))


def test_double_precision_stays_double_under_autocast() -> None:
    x, weight = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((1, 3, 8, 8), (3, 1, 5, 5)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert depthwise(x, weight, None, (1, 1), (2, 2)).dtype == torch.float64
