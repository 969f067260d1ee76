"""The kernels in C++ against torch's operators: results, gradients, statistics, and when they keep out of the way."""

import copy
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import corinth
from corinth.layers import native
from corinth.layers import norm_act as norm_act_module
from corinth.layers.activations import ACTIVATIONS, GATES, Activation, Gate
from corinth.layers.compiler import uncompiled
from corinth.layers.mixed import MixConv
from corinth.layers.mobile import DepthwiseConv2d, PointwiseConv2d, SqueezeExcite
from corinth.layers.norm_act import NormAct, norm_act, norm_relu

pytestmark = pytest.mark.skipif(not native.is_there(), reason="needs a C++ compiler")
SHAPES = [(2, 3, 1, 1), (3, 5, 7, 3), (2, 16, 8, 8), (4, 24, 6, 6), (1, 37, 9, 5), (3, 300, 7, 7)]


@pytest.fixture(autouse=True)
def on_maps_of_any_size(monkeypatch: pytest.MonkeyPatch, ran: list[str]) -> list[str]:
    """Small maps run by the kernels too; the names of those that ran."""
    monkeypatch.setattr(native, "WORTH_CALLING", 0)
    monkeypatch.setattr(norm_act_module, "WORTH_EVALUATING", 0)
    return ran


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


@pytest.mark.parametrize("act", [None, *ACTIVATIONS])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("threads")
def test_norm_act_in_training(act: Activation | None, shape: tuple[int, ...], on_maps_of_any_size: list[str]) -> None:
    norm, x, direction = norm_of(shape[1]), map_of(*shape), map_of(*shape)
    exact = copy.deepcopy(norm).double()
    activation = ACTIVATIONS[act]() if act else nn.Identity()
    got = learned(lambda x: norm_act(x, norm, activation), x, direction, *norm.parameters())
    want = learned(lambda x: activation(exact(x)), x.double(), direction.double(), *exact.parameters())
    assert on_maps_of_any_size == ["norm_act_forward", "norm_act_backward"]
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=2e-4, atol=2e-4)
    for ours, theirs in zip(norm.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("act", [None, *ACTIVATIONS])
def test_norm_act_where_only_the_result_is_wanted(act: Activation | None, on_maps_of_any_size: list[str]) -> None:
    for shape in SHAPES:
        norm, x = norm_of(shape[1]).eval(), map_of(*shape)
        activation = ACTIVATIONS[act]() if act else nn.Identity()
        with torch.inference_mode():
            torch.testing.assert_close(norm_act(x, norm, activation), activation(norm(x)), rtol=1e-5, atol=1e-5)
    assert on_maps_of_any_size == ["norm_act_evaluate"] * len(SHAPES)


@pytest.mark.parametrize("act", [None, *ACTIVATIONS])
def test_norm_act_in_mixed_precision(act: Activation | None) -> None:
    """No further from the exact than torch's own, which rounds what lies between norm and activation."""
    norm = norm_of(24)
    x, direction = (map_of(4, 24, 9, 9, dtype=torch.bfloat16) for _ in range(2))
    exact, plain = copy.deepcopy(norm).double(), copy.deepcopy(norm)
    activation = ACTIVATIONS[act]() if act else nn.Identity()
    got = learned(lambda x: norm_act(x, norm, activation), x, direction, *norm.parameters())
    with uncompiled():
        rough = learned(lambda x: norm_act(x, plain, activation), x, direction, *plain.parameters())
    want = learned(lambda x: activation(exact(x)), x.double(), direction.double(), *exact.parameters())
    for ours, theirs, right in zip(got, rough, want, strict=True):
        assert ours.dtype == theirs.dtype
        assert distance(ours, right) < max(1.05 * distance(theirs, right), 5e-3)


def test_statistics_of_values_far_from_zero() -> None:
    """Variance as the mean of squares less the square of the mean would be lost here."""
    x = map_of(8, 20, 16, 16) * 0.01 + 100
    norm, exact = nn.BatchNorm2d(20, momentum=1.0), nn.BatchNorm2d(20, momentum=1.0).double()
    y, want = norm_relu(x.requires_grad_(), norm), exact(x.detach().double()).relu()
    assert distance(y, want) < 1e-3  # of x itself only five digits are left of the deviations
    assert norm.running_var is not None
    assert exact.running_var is not None
    assert distance(norm.running_var, exact.running_var) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("act", [nn.Identity, *ACTIVATIONS.values()])
def test_gradients_that_are_no_numbers_stay_none(
    act: Callable[[], nn.Module], dtype: torch.dtype, ran: list[str]
) -> None:
    x, norm = map_of(2, 20, 4, 4, dtype=dtype), nn.BatchNorm2d(20)
    x[0, 3, 1, 1] = 1  # where no activation is flat
    y = norm_act(x.requires_grad_(), norm, act())
    grad = torch.ones_like(y)
    grad[0, 3, 1, 1] = float("nan")
    y.backward(grad)
    assert "norm_act_backward" in ran
    assert norm.bias.grad.isnan().nonzero().tolist() == norm.weight.grad.isnan().nonzero().tolist() == [[3]]
    assert x.grad[:, 3].isnan().all()
    assert x.grad[:, :3].isfinite().all()


def test_values_that_are_no_numbers_stay_none() -> None:
    x = map_of(2, 20, 4, 4)
    x[0, 3, 1, 1] = float("nan")
    norm = nn.BatchNorm2d(20)
    assert norm_relu(x.requires_grad_(), norm)[:, 3].isnan().all()
    low = map_of(2, 20, 4, 4, dtype=torch.bfloat16)
    low[0, 3, 1, 1] = float("nan")
    conv = DepthwiseConv2d(20, 3)
    assert conv(low)[0, 3].isnan().sum() == 9


@pytest.mark.parametrize("kernels", [(1,), (3,), (5,), (3, 5), (3, 5, 7, 9, 11)])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("size", [(1, 2), (3, 3), (8, 4), (9, 30)])
def test_depthwise_kernels_of_one_size_or_several(
    kernels: tuple[int, ...], stride: int, same: bool, size: tuple[int, int], on_maps_of_any_size: list[str]
) -> None:
    mix = MixConv(11 * len(kernels) + 2, kernels, stride, same=same)
    x = map_of(2, sum(mix.widths), *size)
    with uncompiled():
        exact = copy.deepcopy(mix).double()
        direction = torch.randn_like(exact(x.double()))
        want = learned(exact, x.double(), direction, *exact.parameters())
    got = learned(mix, x, direction.float(), *mix.parameters())
    expected = {"depthwise_forward", "depthwise_input_gradient", "depthwise_weight_gradient"}
    assert set(on_maps_of_any_size) == expected
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(mix(x), got[0])
    frozen = mix.requires_grad_(False)
    assert mix(x.requires_grad_()).requires_grad
    assert not frozen(x.detach()).requires_grad


@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("kernels", [(3,), (3, 5, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("threads")
def test_depthwise_in_mixed_precision_and_batches(batch: int, kernels: tuple[int, ...], dtype: torch.dtype) -> None:
    mix = MixConv(50, kernels, 2, same=False)
    x, exact = map_of(batch, 50, 17, 40), copy.deepcopy(mix).double()
    direction = torch.randn_like(exact(x.double()))
    want = learned(exact, x.double(), direction, *exact.parameters())
    with torch.autocast("cpu", torch.bfloat16) if dtype == torch.bfloat16 else nullcontext():
        got = learned(mix, x, direction.float(), *mix.parameters())
    assert got[0].dtype == dtype
    for ours, theirs in zip(got, want, strict=True):
        assert distance(ours, theirs) < (1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("act", [None, *ACTIVATIONS])
@pytest.mark.parametrize("kernels", [(3,), (3, 5, 7)])
@pytest.mark.parametrize("batch", [1, 6])
def test_a_depthwise_unit_without_gradient(act: Activation | None, kernels: tuple[int, ...], batch: int) -> None:
    conv = MixConv(40, kernels, 1, same=False) if len(kernels) > 1 else DepthwiseConv2d(40, kernels[0])
    unit = NormAct(conv, 40, act).eval()
    unit.norm = norm_of(40).eval()
    x = map_of(batch, 40, 40, 40)
    with torch.inference_mode():
        with uncompiled():
            want = unit(x)
        torch.testing.assert_close(unit(x), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("act", [None, *ACTIVATIONS])
@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("registers", ["AVX2", "AVX512"])
def test_a_pointwise_unit_without_gradient(
    act: Activation | None, batch: int, registers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: registers)
    unit = NormAct(PointwiseConv2d(24, 40), 40, act).eval()
    unit.norm = norm_of(40).eval()
    x = map_of(batch, 24, 48, 48)
    with torch.no_grad():
        want = unit.act(unit.norm(F.conv2d(x, unit.conv.get_parameter("weight"))))
        torch.testing.assert_close(unit(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.usefixtures("threads")
def test_squeeze_and_excitation(act: Activation, gate: Gate, batch: int, on_maps_of_any_size: list[str]) -> None:
    layer, x = SqueezeExcite(37, 9, act=act, gate=gate), map_of(batch, 37, 9, 7)
    exact, direction = copy.deepcopy(layer).double(), map_of(batch, 37, 9, 7)
    want = learned(exact, x.double(), direction.double(), *exact.parameters())
    got = learned(layer, x, direction, *layer.parameters())
    assert ("image_scale" in on_maps_of_any_size) == (batch >= torch.get_num_threads())
    with torch.inference_mode():
        alone = layer(x)
    assert "excite" in on_maps_of_any_size
    for ours, theirs in zip((*got, alone), (*want, want[0]), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)


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


NETWORKS: dict[str, dict[str, Any]] = {
    "mixnet_s": {},
    "tf_mixnet_s": {},
    "mixnetpp_s": {},
    "mobilenetv1_100": {},
    "mobilenetv2_100": {},
    "mobilenetv3_small_100": {},
    "tf_efficientnet_b0": {},
    "googlenet_bn": {},
    "bn_inception": {},
    "densenet121": {"memory_efficient": True},
    "resnet18": {},
    "resnet50": {},
}
SMOOTH = ("tf_efficientnet_b0",)  # without ReLU


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_and_without(name: str, on_maps_of_any_size: list[str]) -> None:
    """A step of training and what comes after it: no further from the exact than torch's operators are."""
    torch.manual_seed(0)
    model = corinth.create_model(name, num_classes=5, **NETWORKS[name]).to(memory_format=torch.channels_last)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "rate"):
            module.rate = 0.0
    x = map_of(4, 3, 64, 64)

    def step(model: nn.Module, x: Tensor) -> list[Tensor]:
        outputs = model.train()(x)
        loss = sum(
            F.cross_entropy(output, torch.arange(4))
            for output in (outputs if isinstance(outputs, tuple) else (outputs,))
        )
        grads = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True)
        with torch.inference_mode():
            after = model.eval()(x)
        return [after, *(grad for grad in grads if grad is not None)]

    ours = step(copy.deepcopy(model), x)
    assert "norm_act_forward" in on_maps_of_any_size
    with uncompiled():
        theirs, exact = step(copy.deepcopy(model), x), step(copy.deepcopy(model).double(), x.double())
    assert distance(ours[0], exact[0]) < max(3 * distance(theirs[0], exact[0]), 1e-4)
    # a ReLU of a value next to zero falls on the other side in both alike, now and then: gradients change by a percent
    assert statistics.median(map(distance, ours, exact)) < (1e-4 if name in SMOOTH else 0.05)
    assert statistics.median(map(distance, theirs, exact)) < (1e-4 if name in SMOOTH else 0.05)
