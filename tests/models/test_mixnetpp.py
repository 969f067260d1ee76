"""What is particular to MixNet++: its scales, its cost beside MixNet's, how it starts."""

import dataclasses

import pytest
import torch
from torch import nn

from corinth import card, create_model
from corinth.layers.mixed import MixedLayer
from corinth.models.convolutional.mixnetpp import MixNetPPConfig


@pytest.mark.parametrize("size", ["s", "m", "l"])
def test_it_costs_as_many_multiply_adds_as_mixnet(size: str) -> None:
    ours, theirs = card(f"mixnetpp_{size}"), card(f"mixnet_{size}")
    assert ours.macs == pytest.approx(theirs.macs, rel=0.02)
    assert any("Corinth's own design" in text for text in ours.deviations)
    assert "Corinth's own design" in ours.paper
    assert not ours.published


def test_blocks_and_scales() -> None:
    with torch.device("meta"):
        model = create_model("mixnetpp_s").eval()
        sizes = []
        for stage in model.stages:
            stage.register_forward_hook(lambda _m, _x, out: sizes.append(tuple(out.shape[1:])))
        features = model.forward_features(torch.empty(1, 3, 224, 224))
    assert sizes == [(24, 112, 112), (40, 56, 56), (64, 28, 28), (128, 14, 14)]
    assert features.shape == (1, 128, 14, 14)
    layers = [layer for stage in model.stages for layer in stage]
    assert all(isinstance(layer, MixedLayer) for layer in layers)
    assert [layer.cfg.kernels for layer in layers] == [*[(3, 5)] * 2, *[(3, 5, 7)] * 3, *[(3, 5, 7, 9)] * 3]


def test_three_scales_reach_the_classifier() -> None:
    """Each by its mean: a change that leaves the means of a scale alone changes nothing, any other does."""
    model = create_model("mixnetpp_s", num_classes=3, width=0.5).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)
        for stage, fused in enumerate((False, True, True)):
            # behind the stage the next one sees the map as it was: only what is fused is replaced
            maps = model.maps(x)
            for change, same in (("flipped", True), ("shifted", not fused)):
                altered = [m.flip(-1) if i == stage and change == "flipped" else m for i, m in enumerate(maps)]
                altered = [m + 1 if i == stage and change == "shifted" else m for i, m in enumerate(altered)]
                model.maps = lambda _x, altered=altered: altered
                assert torch.allclose(model(x), expected, atol=1e-5) == same
                del model.maps


def test_width_and_depth_scale_it() -> None:
    cfg = MixNetPPConfig(variant="M", width=0.5, depth=1.5)
    assert [stage.chans for stage in cfg.stages] == [16, 24, 32, 72]
    assert [stage.layers for stage in cfg.stages] == [2, 3, 3, 8]
    assert [stage.layers for stage in dataclasses.replace(cfg, depth=0.1).stages] == [1, 1, 1, 1]
    model = create_model("mixnetpp_m", width=0.5, drop_path_rate=0.1)
    rates = [layer.stochastic_depth.rate for stage in model.stages for layer in stage]
    assert rates == pytest.approx([0.1 * i / 10 for i in range(10)])


@pytest.mark.parametrize(("batch", "size"), [(2, 16), (1, 17), (1, 31)])
def test_any_size_trains(batch: int, size: int) -> None:
    model = create_model("mixnetpp_s", num_classes=3, width=0.5)
    model(torch.randn(batch, 3, size, size)).sum().backward()
    assert model.stages[3][1].branches.conv.convs[3].weight.grad.isfinite().all()  # 9x9


@pytest.mark.parametrize(
    "name", ["mixnetpp_s", "mixnet_s", "tf_mixnet_s", "efficientnet_b0", "mobilenetv2_100", "mobilenetv3_small_100"]
)
def test_residual_blocks_may_start_as_the_identity(name: str) -> None:
    """Of all mobile networks, as they share the option."""
    model = create_model(name, num_classes=3, zero_init_residual=True)
    residual = [module for module in model.modules() if getattr(module, "is_residual", False)]
    assert residual
    for block in residual:
        x = torch.randn(2, block.project.norm.num_features, 4, 4)
        block.eval()
        torch.testing.assert_close(block(x), x)
    plain = create_model(name, num_classes=3)
    assert all(bool((module.weight == 1).all()) for module in plain.modules() if isinstance(module, nn.BatchNorm2d))
    with pytest.raises(ValueError, match="zero_init_residual 1 is neither true nor false"):
        dataclasses.replace(plain.cfg, zero_init_residual=1)


@pytest.mark.parametrize(
    ("option", "value"),
    [("variant", "L"), ("width", 0), ("depth", -1.0), ("norm_eps", 0.0), ("norm_momentum", 1.0),
     ("drop_path_rate", 1.0)],
)  # fmt: skip
def test_bad_options(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option} {value!r}"):
        dataclasses.replace(MixNetPPConfig(variant="S"), **{option: value})
