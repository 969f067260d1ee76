"""FCOS: the contract of every detector, its parts, and what it is told that cannot be."""

import dataclasses
import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import corinth
from corinth.errors import UsageError
from corinth.inspect import count_macs, count_params
from corinth.layers.points import PointOutputs
from corinth.models.convolutional.fcos import FCOSConfig
from corinth.registry import configure
from corinth.training.recipe import recipe_for

NAMES = corinth.list_models(task="object-detection")
LIGHT = "fcos_mobilenetv2_100"
every_detector = pytest.mark.parametrize("name", NAMES)


def build(name: str = LIGHT, seed: int = 0, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    small = {"backbone": "mobilenetv2_035", "channels": 32, "norm_groups": 8, "head_depth": 1, "num_classes": 7}
    return corinth.create_model(name, **small | options)


def images(batch: int = 2, size: int = 64, in_chans: int = 3) -> Tensor:
    return torch.randn(batch, in_chans, size, size, generator=torch.Generator().manual_seed(1))


def maps(output: PointOutputs) -> list[Tensor]:
    return [level for levels in output[:3] for level in levels]


def close(a: PointOutputs, b: PointOutputs, tolerance: float = 1e-4) -> bool:
    return all(bool((x - y).abs().max() <= tolerance * y.abs().max()) for x, y in zip(maps(a), maps(b), strict=True))


@every_detector
def test_the_card_is_exact(name: str) -> None:
    card, cfg = corinth.card(name), configure(name)
    with torch.device("meta"):
        model = corinth.create_model(name).eval()
        output = model(torch.empty(1, *card.input_size))
    assert count_params(model) == card.params
    assert count_macs(model, card.input_size) == card.macs
    side = card.input_size[-1]
    for level, stride in enumerate((8, 16, 32, 64, 128)):
        shape = (1, cfg.num_classes, -(-side // stride), -(-side // stride))
        assert output.logits[level].shape == shape
        assert output.distances[level].shape == (1, 4, *shape[2:])
        assert output.centreness[level].shape == (1, 1, *shape[2:])
    assert output.strides == (8, 16, 32, 64, 128)
    assert card.tasks == ("object-detection",)
    assert recipe_for(name, "digits").arch == name
    if card.published_recipe:
        assert recipe_for(name, "digits", published=True).budget == card.published_recipe["budget"]


@every_detector
@pytest.mark.parametrize("size", [(64, 96), (160, 64), (101, 75)])
def test_any_size(name: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        output = corinth.create_model(name, in_chans=1).eval()(torch.empty(2, 1, *size))
    assert output.logits[0].shape[2:] == (-(-size[0] // 8), -(-size[1] // 8))


@every_detector
def test_every_parameter_receives_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = corinth.create_model(name, num_classes=3).train()
    sum(
        level.float().log1p().sum() if level.min() > 0 else level.sin().sum() for level in maps(model(images()))
    ).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{key} has no gradient"
        assert parameter.grad.isfinite().all(), f"{key} has a gradient that is not finite"
        assert parameter.grad.any(), f"the gradient of {key} is zero"


def test_head_reset_and_features() -> None:
    model = build().eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.reset_head(3)
    assert model.cfg.num_classes == 3
    assert model(images()).logits[0].shape == (2, 3, 8, 8)
    after = model.state_dict()
    assert after.keys() == before.keys()
    changed = {
        key for key in before if before[key].shape != after[key].shape or not torch.equal(before[key], after[key])
    }
    assert changed == {"head.classify.weight", "head.classify.bias"}
    bare = build(num_classes=0).eval()
    missing, unexpected = bare.load_state_dict(model.state_dict(), strict=False)
    assert (missing, sorted(unexpected)) == ([], ["head.classify.bias", "head.classify.weight"])
    with torch.inference_mode():
        assert bare(images()).shape == (2, 32)
    bare.reset_head(7)
    assert bare(images()).logits[0].shape == (2, 7, 8, 8)


def test_every_point_starts_at_a_probability_of_one_in_a_hundred() -> None:
    model = build()
    assert model.head.classify.bias.sigmoid().tolist() == pytest.approx([0.01] * 7)
    with torch.inference_mode():
        for level in model.eval()(images()).logits:
            assert level.sigmoid().mean().item() == pytest.approx(0.01, rel=0.2)


@torch.no_grad()
def test_distances_are_in_strides_and_positive() -> None:
    for how, value in (("exp", math.exp(2 * 0.5)), ("relu", 1.0)):
        model = build(distance=how).eval()
        nn.init.zeros_(model.head.regress.weight)
        nn.init.constant_(model.head.regress.bias, 0.5)
        model.head.scales.fill_(2.0)
        for level, stride in zip(model(images()).distances, (8, 16, 32, 64, 128)):
            torch.testing.assert_close(level, torch.full_like(level, value * stride))


def test_the_heads_are_shared_by_all_levels() -> None:
    model = build().eval()
    alike = tuple(torch.ones(1, 32, 8, 8) for _ in range(5))
    output = model.head(alike)
    for level in range(1, 5):
        torch.testing.assert_close(output.logits[level], output.logits[0])
        torch.testing.assert_close(output.distances[level], output.distances[0] * 2**level)


def test_export() -> None:
    model = build().eval()
    with torch.no_grad():
        program = torch.export.export(model, (images(),))
        assert close(program.module()(images()), model(images()))


def test_state_dict_round_trip() -> None:
    model, copy = build().eval(), build(seed=1).eval()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    copy.load_state_dict(torch.load(file, weights_only=True))
    with torch.inference_mode():
        assert close(copy(images()), model(images()), 0.0)


def test_channels_last_bfloat16_and_seed() -> None:
    model = build().eval()
    with torch.inference_mode():
        expected = model(images())
        assert close(build().eval()(images()), expected, 0.0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert all(level.isfinite().all() for level in maps(model(images())))
        model = model.to(memory_format=torch.channels_last)
        assert close(model(images().to(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("channels", 0, "channels 0 is not a whole number of at least 1"),
        ("channels", 100, "channels 100 do not fall into norm_groups 32 of one size"),
        ("head_depth", 0, "head_depth 0"),
        ("distance", "tanh", "distance 'tanh' is none of exp, relu"),
        ("backbone", 50, "backbone 50 is no name of an architecture"),
        ("num_classes", -1, "num_classes -1"),
        ("in_chans", 0, "in_chans 0"),
    ],
)
def test_a_bad_value_names_its_field(field: str, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(FCOSConfig(), **{field: value})
    with pytest.raises(UsageError, match=f"{LIGHT}: {reason}"):
        corinth.create_model(LIGHT, **{field: value})


def test_backbones_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="no architecture is called 'resnet5'"):
        build(backbone="resnet5")
    with pytest.raises(UsageError, match="there is no map of stride"):
        build(backbone="resnet20_cifar10")
    with pytest.raises(UsageError, match="no backbone"):
        build(backbone="fcos_resnet18")


def test_small_images_and_unknown_options() -> None:
    with pytest.raises(UsageError, match="63x63 pixels are too small for this network; it needs 64x64"):
        build()(images(size=63))
    with pytest.raises(TypeError, match="no option 'num_clases'; did you mean num_classes"):
        corinth.create_model(LIGHT, num_clases=3)


@every_detector
def test_the_config_is_frozen_and_plain(name: str) -> None:
    cfg = configure(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.in_chans = 5
    assert configure(name, **dataclasses.asdict(cfg)) == cfg
