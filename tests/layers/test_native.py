"""The kernels in C++ against torch's operators: results, gradients, statistics."""

import copy
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import corinth
from corinth.layers import native
from corinth.layers.activations import ACTIVATIONS, GATES, Activation, Gate
from corinth.layers.compiler import uncompiled
from corinth.layers.mixed import MixConv
from corinth.layers.mobile import DepthwiseConv2d, PointwiseConv2d, SqueezeExcite
from corinth.layers.norm_act import NormAct, norm_act, norm_relu
from feature_maps import distance, learned, map_of, norm_of

pytestmark = [
    pytest.mark.skipif(not native.is_there(), reason="needs a C++ compiler"),
    pytest.mark.usefixtures("on_maps_of_any_size"),
]
SHAPES = [(2, 3, 1, 1), (3, 5, 7, 3), (2, 16, 8, 8), (4, 24, 6, 6), (1, 37, 9, 5), (3, 300, 7, 7)]


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
