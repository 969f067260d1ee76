"""The pieces of mobile networks against their definitions."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers import mobile
from corinth.layers.mixed import MixConv


def test_widths_are_rounded_to_eight_and_lose_at_most_a_tenth() -> None:
    assert [mobile.round_width(width) for width in (1, 8, 11.9, 12, 16 * 1.1, 24 * 1.3, 32 * 1.4)] == [
        8, 8, 16, 16, 16, 32, 48,
    ]  # fmt: skip
    for width in range(1, 400):
        rounded = mobile.round_width(width)
        assert rounded % 8 == 0
        assert rounded >= 0.9 * width
        assert abs(rounded - width) < 8
    assert mobile.round_width(10, divisor=4) == 12


def defined(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """TensorFlow's definition, one output pixel at a time: ceil(n / stride) windows, the odd zero behind."""
    kernel, size = weight.shape[-1], x.shape[-2:]
    out = [-(-n // stride) for n in size]
    before = [max((o - 1) * stride + kernel - n, 0) // 2 for o, n in zip(out, size)]
    result = torch.zeros(len(x), len(weight), *out)
    wide = F.pad(x, (kernel,) * 4)
    for i in range(out[0]):
        for j in range(out[1]):
            top, left = (index * stride - start + kernel for index, start in zip((i, j), before))
            window = wide[:, :, top : top + kernel, left : left + kernel]
            result[:, :, i, j] = torch.einsum("bchw,ochw->bo", window, weight)
    return result


@pytest.mark.parametrize("kernel", [1, 3, 5, 11])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 5), (7, 8), (12, 9)])
def test_same_padding(kernel: int, stride: int, size: tuple[int, int]) -> None:
    conv = mobile.conv2d(2, 3, kernel, stride, same=True)
    x = torch.randn(2, 2, *size)
    with torch.no_grad():
        torch.testing.assert_close(conv(x), defined(x, conv.weight, stride))
    assert isinstance(conv, mobile.SameConv2d) == (stride > 1)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [None, torch.randn(6)])
@pytest.mark.parametrize("size", [1, 5])
def test_pointwise(groups: int, bias: Tensor | None, size: int) -> None:
    x, weight = torch.randn(3, 4, size, size, requires_grad=True), torch.randn(6, 4 // groups, 1, 1, requires_grad=True)
    expected = F.conv2d(x, weight, bias, groups=groups)
    gradients = torch.autograd.grad(expected.square().sum(), (x, weight))
    threads = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            result = mobile.pointwise(x, weight, bias, groups)
            torch.testing.assert_close(result, expected)
            for got, want in zip(torch.autograd.grad(result.square().sum(), (x, weight)), gradients):
                torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(
    ("act", "function"),
    [(None, lambda x: x), ("relu", F.relu), ("relu6", F.relu6), ("swish", F.silu), ("hard_swish", F.hardswish)],
)
def test_conv_norm_act(same: bool, act: mobile.Activation | None, function: Callable[[Tensor], Tensor]) -> None:
    unit = mobile.ConvNormAct(4, 6, 3, 2, groups=2, act=act, eps=1e-3, momentum=0.01, same=same)
    x = torch.randn(2, 4, 6, 6)
    z = unit.conv(x)
    assert unit.conv.bias is None
    expected = F.batch_norm(z, None, None, training=True, eps=1e-3)
    torch.testing.assert_close(unit(x), function(expected))
    torch.testing.assert_close(unit.norm.running_mean, 0.01 * z.mean((0, 2, 3)))
    result = unit(x)
    result.sum().backward()  # nothing that the gradient needs was overwritten
    assert all(parameter.grad is not None for parameter in unit.parameters())


def random_norms(module: nn.Module) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if "norm" in name and tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)


@pytest.mark.parametrize(
    "unit",
    [
        mobile.ConvNormAct(3, 8, 3, 2, act="swish", eps=1e-3),
        mobile.ConvNormAct(3, 8, 3, 2, act="relu", same=True),
        mobile.ConvNormAct(6, 6, 5, 2, groups=6, act="relu6", same=True),
        mobile.ConvNormAct(6, 6, 3, groups=6, act="hard_swish"),
        mobile.ConvNormAct(6, 8),
    ],
    ids=repr,
)
@pytest.mark.parametrize("size", [4, 224])  # too small to fold, large enough
def test_norms_are_folded_without_a_trace(unit: mobile.ConvNormAct, size: int) -> None:
    unit = unit.eval()
    random_norms(unit)
    x = torch.randn(1, unit.conv.weight.shape[1] * unit.conv.groups, size, size)
    folded = []
    scaled = unit.conv.scaled
    unit.conv.scaled = lambda *arguments: folded.append(True) or scaled(*arguments)
    expected = unit(x)
    assert not folded
    with torch.no_grad():
        torch.testing.assert_close(unit(x), expected)
        assert len(folded) == (size == 224)
        folded.clear()
        seen = []
        handle = unit.norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        torch.testing.assert_close(unit(x), expected)
        assert len(seen) == 1, "whoever looks at a norm's output gets it"
        handle.remove()
        unit.train()
        unit(x)
        assert not folded


@pytest.mark.parametrize("part", ["reduce", "act", "expand", "gate"])
def test_hooks_on_parts_of_squeeze_and_excitation_are_called_without_gradients(part: str) -> None:
    layer = mobile.SqueezeExcite(6, 4)
    x = torch.randn(2, 6, 5, 3)
    expected, seen = layer(x), []
    getattr(layer, part).register_forward_hook(lambda *_: seen.append(True))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)
    assert seen


def test_an_exchanged_convolution_or_norm_is_called_as_it_is() -> None:
    class Twice(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    x = torch.randn(2, 6, 9, 9)
    unit = mobile.ConvNormAct(6, 6).eval()
    unit.norm = nn.GroupNorm(2, 6)
    excite = mobile.SqueezeExcite(6, 4)
    unit.conv, excite.reduce = Twice(6, 6, 1), Twice(6, 4, 1)
    expected = unit(x), excite(x)
    with torch.no_grad():
        torch.testing.assert_close((unit(x), excite(x)), expected)


@pytest.mark.parametrize(("gate", "function"), [("sigmoid", torch.sigmoid), ("hard_sigmoid", F.hardsigmoid)])
@pytest.mark.parametrize("grad", [False, True])
def test_squeeze_and_excitation(gate: mobile.Gate, function: Callable[[Tensor], Tensor], grad: bool) -> None:
    layer = mobile.SqueezeExcite(6, 4, act="swish", gate=gate)
    x = torch.randn(2, 6, 5, 3)
    means = x.mean((2, 3))
    hidden = F.silu(means @ layer.reduce.weight.flatten(1).T + layer.reduce.bias)
    scale = function(hidden @ layer.expand.weight.flatten(1).T + layer.expand.bias)
    expected = x * scale[:, :, None, None]
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(layer(x.clone()), expected)


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = mobile.StochasticDepth(0.2)
    x = torch.ones(4000, 2, 3, 1)
    assert layer.eval()(x) is x
    result = layer.train()(x.clone())
    assert set(result.unique().tolist()) == {0.0, 1.25}
    assert bool((result == result[:, :1, :1, :1]).all())
    assert float(result.mean()) == pytest.approx(1, abs=0.03)
    assert mobile.StochasticDepth(0.0)(x) is x


def test_stochastic_depth_stops_the_gradient_of_dropped_samples() -> None:
    torch.manual_seed(1)
    x = torch.randn(8, 2, 1, 1, requires_grad=True)
    result = mobile.StochasticDepth(0.5)(x * 1)
    result.sum().backward()
    assert torch.equal(x.grad[:, 0, 0, 0] == 0, result.detach()[:, 0, 0, 0] == 0)
    assert 0 < int((x.grad[:, 0, 0, 0] == 2).sum()) < 8


def test_initialisation() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(64, 128, 3),
        nn.BatchNorm2d(128),
        nn.Conv2d(4096, 4096, 5, groups=4096),
        nn.Conv2d(128, 256, 1, groups=2),
    )
    mobile.init_mobile_(net)
    for index, fan_out in ((0, 9 * 128), (2, 25), (3, 128)):
        assert float(net[index].weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
        assert not net[index].bias.any()
    assert bool((net[1].weight == 1).all())
    head = mobile.classifier(300, 100)
    assert float(head.weight.detach().abs().max()) == pytest.approx(0.1, rel=1e-2)
    assert not head.bias.any()
    assert isinstance(mobile.classifier(300, 0), nn.Identity)


def altered(change: str) -> mobile.ConvNormAct:
    unit = mobile.ConvNormAct(8, 8, 3, act="relu").eval()
    match change:
        case "norm in training":
            unit.norm.train()
        case "no affine":
            unit.norm = nn.BatchNorm2d(8, affine=False).eval()
        case "no statistics":
            unit.norm = nn.BatchNorm2d(8, track_running_stats=False).eval()
        case "another convolution":
            unit.conv = nn.Conv2d(8, 8, 3, padding=1)
        case "half a convolution":
            unit.conv.to(torch.bfloat16)
    return unit


@pytest.mark.parametrize(
    "change", ["norm in training", "no affine", "no statistics", "another convolution", "half a convolution"]
)
def test_what_cannot_be_folded_is_run_as_it_is(change: str) -> None:
    unit = altered(change)
    x = torch.randn(2, 8, 40, 40, dtype=next(unit.conv.parameters()).dtype)
    before = {name: buffer.clone() for name, buffer in unit.named_buffers()}
    expected = unit(x).detach()
    unit.load_state_dict(before, strict=False)
    with torch.no_grad():
        assert torch.equal(unit(x), expected)
    assert change != "norm in training" or int(unit.norm.num_batches_tracked) == 1


def test_an_image_without_a_batch_is_refused_with_and_without_gradients() -> None:
    unit = mobile.ConvNormAct(3, 16, 3, act="relu").eval()
    for grad in (True, False):
        with torch.set_grad_enabled(grad), pytest.raises(ValueError, match="expected 4D input"):
            unit(torch.randn(3, 16, 16))


def test_hooks_inside_of_a_mixed_convolution_are_called_on_maps_of_any_size() -> None:
    unit = mobile.NormAct(MixConv(64, (3, 5), 1, same=False), 64, None).eval()
    seen = []
    unit.conv.convs[0].register_forward_hook(lambda *_: seen.append(True))
    with torch.no_grad():
        unit(torch.randn(1, 64, 8, 8))
        unit(torch.randn(4, 64, 56, 56))
    assert len(seen) == 2
