"""When the kernels in C++ keep out of the way: derivatives of higher order, traces, hooks, layers that do not fit."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from corinth.layers import native
from corinth.layers.compiler import uncompiled
from corinth.layers.mixed import MixConv
from corinth.layers.mobile import DepthwiseConv2d, PointwiseConv2d, SqueezeExcite
from corinth.layers.norm_act import NormAct, norm_relu
from feature_maps import distance, learned, map_of

pytestmark = [
    pytest.mark.skipif(not native.is_there(), reason="needs a C++ compiler"),
    pytest.mark.usefixtures("on_maps_of_any_size"),
]


def units() -> dict[str, tuple[nn.Module, Tensor]]:
    return {
        "norm": (NormAct(nn.Conv2d(6, 6, 1, bias=False), 6, "swish"), map_of(4, 6, 5, 5)),
        "mix": (MixConv(6, (3, 5), 2, same=False), map_of(4, 6, 5, 5)),
        "one": (DepthwiseConv2d(6, 3, 2, same=True), map_of(4, 6, 6, 6)),
        "excite": (SqueezeExcite(6, 3), map_of(4, 6, 5, 5)),
    }


@pytest.mark.parametrize("name", units())
def test_second_derivatives(name: str) -> None:
    torch.manual_seed(1)
    layer, x = units()[name]

    def twice() -> list[Tensor]:
        inputs = [x.detach().requires_grad_(), *layer.parameters()]
        first = torch.autograd.grad(layer(inputs[0]).pow(3).sum(), inputs, create_graph=True)
        return list(torch.autograd.grad(sum(grad.square().sum() for grad in first), inputs, allow_unused=True))

    got = twice()
    with uncompiled():
        want = twice()
    for ours, theirs in zip(got, want, strict=True):
        assert distance(ours, theirs) < 2e-3


@pytest.mark.parametrize("name", units())
def test_gradients_of_maps_that_were_kept_elsewhere(name: str) -> None:
    """What was saved may come back in another layout."""
    layer, x = units()[name]
    direction = torch.randn_like(layer(x))
    want = learned(layer, x, direction, *layer.parameters())
    with torch.autograd.graph.saved_tensors_hooks(torch.Tensor.contiguous, lambda x: x):
        got = learned(layer, x, direction, *layer.parameters())
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", units())
def test_the_same_twice(name: str) -> None:
    layer, x = units()[name]
    direction = torch.randn_like(layer(x))
    first, second = (learned(layer, x, direction, *layer.parameters()) for _ in range(2))
    assert all(map(torch.equal, first, second))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of tracing and in its own code
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of sizes
@pytest.mark.parametrize("name", units())
@pytest.mark.parametrize("grad", [True, False])
def test_traces_and_transforms_see_torchs_operators(name: str, grad: bool, on_maps_of_any_size: list[str]) -> None:
    layer, x = units()[name]
    x = x.repeat(1, 1, 40, 40).contiguous(memory_format=torch.channels_last)  # large: norms go into weights
    layer.eval()
    want = layer(x).detach()
    on_maps_of_any_size.clear()
    with torch.set_grad_enabled(grad):
        weights = {key: value.detach() for key, value in layer.named_parameters()}
        torch.func.grad(lambda weights: torch.func.functional_call(layer, weights, (x,)).sum())(weights)
        along = torch.func.jvp(layer, (x,), (x,))[1]
        many = torch.func.vmap(layer)(torch.stack((x, x)))[1]
        exported = torch.export.export(layer, (x,)).module()(x)
        traced = torch.jit.trace(layer, (x,), check_trace=False)(x)
        followed = make_fx(layer)(x)(x)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert layer(mode.from_tensor(x)).shape == want.shape
            assert layer(x).shape == want.shape
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, x))).tangent
    assert not on_maps_of_any_size
    assert tangent is not None
    torch.testing.assert_close(tangent, along)
    for result in (many, exported, traced, followed):
        torch.testing.assert_close(result, want, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, in its own code
def test_a_dynamic_batch_is_exported() -> None:
    batch = torch.export.Dim("batch")
    for layer, x in units().values():
        exported = torch.export.export(layer.eval(), (x,), dynamic_shapes=({0: batch},), strict=True)
        torch.testing.assert_close(exported.module()(x[:3]), layer(x[:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's, of what it takes one by one
@pytest.mark.parametrize("name", units())
def test_many_gradients_at_once(name: str) -> None:
    layer, x = units()[name]
    y = layer(x.requires_grad_())
    directions = torch.randn(3, *y.shape)
    (got,) = torch.autograd.grad(y, x, directions, is_grads_batched=True, retain_graph=True)
    for one, direction in zip(got, directions):
        torch.testing.assert_close(
            one, torch.autograd.grad(y, x, direction, retain_graph=True)[0], rtol=1e-3, atol=1e-4
        )


def test_hooks_are_called(on_maps_of_any_size: list[str]) -> None:
    x, seen = map_of(4, 6, 5, 5).requires_grad_(), []

    def note(*_: Any) -> None:
        seen.append(1)

    for part in ("norm", "act"):
        for register in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"):
            unit = NormAct(nn.Conv2d(6, 6, 1), 6, "swish")
            getattr(unit.get_submodule(part), register)(note)
            unit(x).sum().backward()
    assert len(seen) == 6
    unit = NormAct(nn.Conv2d(6, 6, 1), 6, "relu")
    unit.norm.forward = lambda x: x + 1  # ty: ignore[invalid-assignment]
    torch.testing.assert_close(unit(x), (unit.conv(x) + 1).relu())
    assert not on_maps_of_any_size


def test_other_norms_and_maps_are_left_alone(on_maps_of_any_size: list[str]) -> None:
    x = map_of(4, 6, 5, 5).requires_grad_()
    strided = nn.BatchNorm2d(6)
    strided.weight = nn.Parameter(torch.arange(12.0)[::2])
    off = nn.BatchNorm2d(6)
    off.track_running_stats = False
    norms = [
        nn.BatchNorm2d(6, momentum=None),
        nn.BatchNorm2d(6, affine=False),
        nn.BatchNorm2d(6, track_running_stats=False),
        nn.BatchNorm2d(6).eval(),
        nn.GroupNorm(2, 6),
        strided,
        off,
    ]
    for norm in norms:
        before = {key: value.clone() for key, value in norm.named_buffers()}
        twin = copy.deepcopy(norm)
        torch.testing.assert_close(norm_relu(x, norm), twin(x).relu())
        for key, value in norm.named_buffers():
            torch.testing.assert_close(value, twin.get_buffer(key))
        assert before.keys() == dict(twin.named_buffers()).keys()
    norm_relu(x.double(), nn.BatchNorm2d(6).double())
    norm_relu(x.contiguous(), nn.BatchNorm2d(6))
    with uncompiled():
        norm_relu(x, nn.BatchNorm2d(6))
    norm = nn.BatchNorm2d(6)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_relu(map_of(1, 6, 1, 1), norm)
    assert not on_maps_of_any_size
    norm_relu(x, nn.BatchNorm2d(6))
    assert on_maps_of_any_size == ["norm_act_forward"]


@pytest.mark.parametrize("chans", [4, 32])
def test_maps_of_other_channels_are_refused_by_torch(chans: int, on_maps_of_any_size: list[str]) -> None:
    x = map_of(4, chans, 5, 5)
    layers = [nn.BatchNorm2d(8), DepthwiseConv2d(8, 3), MixConv(8, (3, 5), 1, same=False), SqueezeExcite(8, 4)]
    for layer in layers:
        for grad in (True, False):
            with torch.set_grad_enabled(grad), pytest.raises(RuntimeError):
                norm_relu(x, layer.train(grad)) if isinstance(layer, nn.BatchNorm2d) else layer(x)
    DepthwiseConv2d(chans, 3).to("meta")(x)  # of weights that are nowhere torch makes what it makes
    assert not on_maps_of_any_size
    for conv in (DepthwiseConv2d(chans, 3), PointwiseConv2d(8, 8)):
        with torch.no_grad(), pytest.raises(RuntimeError):
            NormAct(conv, 8, "relu").eval()(x)


def test_layers_that_have_become_others() -> None:
    """A bias from folding, another gate or activation, a wrapped or replaced convolution: as they are, not as made."""
    x = map_of(4, 8, 6, 6)
    conv = DepthwiseConv2d(8, 3)
    conv.bias = nn.Parameter(torch.randn(8))
    mix = MixConv(8, (3, 5), 1, same=False)
    mix.convs[0] = nn.Conv2d(4, 4, 3, padding=1, groups=4)
    mix.convs[1].bias = nn.Parameter(torch.randn(4))
    tanh, gelu, bare = SqueezeExcite(8, 4), SqueezeExcite(8, 4), SqueezeExcite(8, 4)
    tanh.gate, gelu.act, bare.reduce.bias = nn.Tanh(), nn.GELU(), None
    lone, pixel = (
        NormAct(layer, 8, "relu").eval() for layer in (copy.deepcopy(conv), PointwiseConv2d(8, 8, bias=True))
    )
    mixed = NormAct(copy.deepcopy(mix), 8, "relu").eval()
    for layer in (lone, pixel, mixed):  # on a map so large that norms go into weights
        large = map_of(2, 8, 96, 96)
        with torch.no_grad():
            torch.testing.assert_close(layer(large), layer.norm(layer.conv(large)).relu(), rtol=1e-5, atol=1e-5)
    for layer in (conv, mix, tanh, gelu, bare):
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                with uncompiled():
                    want = layer(x)
                torch.testing.assert_close(layer(x), want)
    expected = F.conv2d(x, conv.weight, conv.bias, padding=1, groups=8)
    torch.testing.assert_close(conv(x), expected)


def test_defaults_of_torch_do_not_matter() -> None:
    unit = NormAct(DepthwiseConv2d(8, 3), 8, "relu").eval()
    x = map_of(2, 8, 90, 90)
    with torch.no_grad():
        want = unit(x)
        torch.set_default_dtype(torch.bfloat16)
        try:
            torch.testing.assert_close(unit(x), want)
        finally:
            torch.set_default_dtype(torch.float32)
        with torch.device("meta"):
            torch.testing.assert_close(unit(x), want)


def test_a_gradient_that_does_not_come() -> None:
    class Stop(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> None:
            return None

    for layer, x in units().values():
        Stop.apply(layer(x.requires_grad_())).sum().backward()
        assert x.grad is None or not x.grad.any()
