"""The mixed layer against its definition, written out branch by branch."""

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.layers.mixed import BranchAttention, Branches, MixConv, MixedConfig, MixedLayer, mixed_layer

FORMS = [
    {"fusion": fusion, "cascade": cascade, "stride": stride, "expansion": expansion}
    for fusion in ("concat", "add")
    for cascade in (False, True)
    for stride, expansion in ((1, 3), (2, 1))
]
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))


def randomised(form: dict[str, Any], chans: int = 8) -> MixedLayer:
    """A layer in evaluation mode with every tensor drawn anew."""
    torch.manual_seed(0)
    layer = mixed_layer(8, chans, kernels=(3, 5, 7), **form).double().eval()
    with torch.no_grad():
        for key, tensor in layer.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5) if key.endswith("running_var") else tensor.normal_(0, 0.5)
    return layer


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def defined(layer: MixedLayer, x: Tensor) -> Tensor:
    """The five steps of the class's docstring with one convolution a branch and sums written out."""
    cfg, state = layer.cfg, layer.state_dict()

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.norm.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + cfg.norm_eps).sqrt() * weight + bias

    y = x
    if cfg.expansion > 1:
        y = F.silu(norm("expand", F.conv2d(x, state["expand.conv.weight"])))
    parts = y.split(cfg.widths, 1) if cfg.fusion == "concat" else [y] * 3
    maps: list[Tensor] = []
    for number, (part, kernel) in enumerate(zip(parts, cfg.kernels)):
        if number and cfg.cascade and cfg.stride == 1:
            part = part + maps[-1][:, : part.shape[1]]
        weight = state[f"branches.conv.convs.{number}.weight"]
        maps.append(F.conv2d(part, weight, None, cfg.stride, kernel // 2, groups=len(weight)))
    whole = F.silu(norm("branches", torch.cat(maps, 1)))
    hidden = F.silu(whole.mean((2, 3)) @ state["attention.reduce.weight"].flatten(1).T + state["attention.reduce.bias"])
    logits = hidden @ state["attention.expand.weight"].flatten(1).T + state["attention.expand.bias"]
    weights = 3 * logits.exp() / logits.exp().sum(1, keepdim=True)
    weighted = [weights[:, b, None, None, None] * part for b, part in enumerate(whole.split(cfg.widths, 1))]
    fused = torch.cat(weighted, 1) if cfg.fusion == "concat" else weighted[0] + weighted[1] + weighted[2]
    out = norm("project", F.conv2d(fused, state["project.conv.weight"]))
    return out + x if cfg.stride == 1 and cfg.in_chans == cfg.chans else out


@every_form
@pytest.mark.parametrize("chans", [8, 10])
def test_a_mixed_layer_is_what_its_steps_say(form: dict[str, Any], chans: int) -> None:
    layer, x = randomised(form, chans), images(2, 8, 9, 7)
    result = layer(x)
    side = (9, 7) if form["stride"] == 1 else (5, 4)
    assert result.shape == (2, chans, *side)
    assert layer.is_residual == (form["stride"] == 1 and chans == 8)
    torch.testing.assert_close(result, defined(layer, x))
    with torch.no_grad():  # norms are folded into weights where they may be
        torch.testing.assert_close(layer(images(2, 8, 40, 40)), defined(layer, images(2, 8, 40, 40)))


@every_form
def test_every_parameter_receives_a_gradient(form: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = mixed_layer(8, 8, kernels=(3, 5), **form)
    layer(torch.randn(4, 8, 8, 8)).square().sum().backward()
    for key, parameter in layer.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@every_form
def test_layout_export_and_autocast(form: dict[str, Any]) -> None:
    layer = randomised(form).float()
    x = images(2, 8, 8, 8).float()
    with torch.no_grad():
        expected = layer(x)
        program = torch.export.export(layer, (x,))
        torch.testing.assert_close(program.module()(x), expected, rtol=1e-4, atol=1e-4)
        last = layer.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(x).isfinite().all()


@pytest.mark.parametrize("fusion", ["concat", "add"])
def test_each_branch_has_a_weight_that_depends_on_the_image(fusion: str) -> None:
    layer = randomised({"fusion": fusion})
    x = images(3, 8, 8, 8)
    weights = layer.attention(layer.branches(x))
    assert weights.shape == (3, 3, 1, 1)
    torch.testing.assert_close(weights.sum(1), torch.full((3, 1, 1), 3.0, dtype=torch.float64))
    assert not torch.allclose(weights[0], weights[1])
    maps = torch.ones(3, sum(layer.cfg.widths), 2, 2, dtype=torch.float64)
    fused = layer.fuse(maps, weights)
    if fusion == "add":
        torch.testing.assert_close(fused, torch.full_like(fused, 3.0))
    else:
        for branch, part in enumerate(fused.split(layer.cfg.widths, 1)):
            torch.testing.assert_close(part, weights[:, branch : branch + 1].expand_as(part))


def test_the_weights_start_nearly_equal() -> None:
    torch.manual_seed(0)
    layer = mixed_layer(32, 32)
    weights = layer.attention(layer.branches(torch.randn(8, 32, 8, 8)))
    assert bool(((weights - 1).abs() < 0.2).all())
    assert isinstance(layer.attention, BranchAttention)


def test_forms_of_the_branches() -> None:
    assert isinstance(mixed_layer(8, 8).branches.conv, MixConv)
    for form in ({"fusion": "add"}, {"cascade": True}):
        assert isinstance(mixed_layer(8, 8, **form).branches.conv, Branches)
    assert MixedConfig(in_chans=11, chans=8).widths == [5, 3, 3]
    assert MixedConfig(in_chans=11, chans=8, fusion="add", expansion=2).widths == [22, 22, 22]
    assert mixed_layer(8, 8, expansion=6, reduction=16).attention.reduce.out_channels == 4
    assert mixed_layer(40, 8, expansion=4, reduction=16).attention.reduce.out_channels == 10


def test_stochastic_depth_drops_the_branches_and_keeps_the_input() -> None:
    torch.manual_seed(0)
    layer = mixed_layer(8, 8, drop_path_rate=0.5).train()
    x = torch.randn(64, 8, 4, 4)
    kept = (layer(x) - x).flatten(1).abs().sum(1) == 0
    assert 10 < int(kept.sum()) < 54
    assert isinstance(layer.stochastic_depth, nn.Module)


@pytest.mark.parametrize(
    ("option", "value"),
    [("in_chans", 0), ("chans", 0), ("kernels", (3,)), ("kernels", (3, 4)), ("kernels", (3, 3)), ("kernels", ()),
     ("fusion", "mean"), ("expansion", 0), ("reduction", 0), ("cascade", 1), ("stride", 0), ("act", "gelu"),
     ("drop_path_rate", 1.0), ("norm_eps", 0.0), ("norm_momentum", 1.0)],
)  # fmt: skip
def test_bad_options(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=option) as raised:
        dataclasses.replace(MixedConfig(in_chans=8, chans=8), **{option: value})
    assert repr(value) in str(raised.value)


def test_more_branches_than_channels() -> None:
    with pytest.raises(ValueError, match=r"kernels \(3, 5, 7\) are more than the 2 channels that they share"):
        MixedConfig(in_chans=2, chans=8)
    with pytest.raises(ValueError, match="kernels 3 is no list"):
        mixed_layer(8, 8, kernels=3)
    with pytest.raises(TypeError, match="kernel"):
        mixed_layer(8, 8, kernel=3)
