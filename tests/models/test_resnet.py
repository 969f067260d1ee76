"""What is particular to ResNet: shortcuts, strides, depth of the CIFAR family, initialisation, checks."""

import pytest
import torch
from torch import nn

from corinth import card, create_model
from corinth.errors import UsageError
from corinth.models.convolutional.resnet import PadShortcut, ProjectShortcut, ResNetConfig


@pytest.mark.parametrize(
    ("name", "params"),
    [
        # table 1 and section 4.2; option B as pytorchcv and option A as akamaster count them
        ("resnet20_cifar10", 272_474),
        ("resnet56_cifar10", 855_770),
        ("resnet110_cifar10", 1_730_714),
    ],
)
def test_projections_cost_what_they_should(name: str, params: int) -> None:
    with torch.device("meta"):
        projected = create_model(name, shortcut="B")
    assert sum(p.numel() for p in projected.parameters()) == params
    assert params - card(name).params == (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


@pytest.mark.parametrize("layers", [20, 32, 44, 56, 110])
def test_the_cifar_family_has_6n_plus_2_layers(layers: int) -> None:
    model = create_model(f"resnet{layers}_cifar10")
    weighted = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(weighted) == layers


@pytest.mark.parametrize(("name", "layers"), [("resnet18", 18), ("resnet34", 34), ("resnet50", 50), ("resnet152", 152)])
def test_the_imagenet_family_has_as_many_layers_as_its_name_says(name: str, layers: int) -> None:
    with torch.device("meta"):
        model = create_model(name)
    weighted = [
        key
        for key, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and "shortcut" not in key
    ]
    assert len(weighted) == layers


@pytest.mark.parametrize(("name", "strides"), [("resnet50", (1, 2, 1)), ("resnet50_v1", (2, 1, 1))])
def test_where_the_stride_of_a_stage_sits(name: str, strides: tuple[int, ...]) -> None:
    with torch.device("meta"):
        block = create_model(name).stages[1][0]
    assert (block.conv1.stride[0], block.conv2.stride[0], block.conv3.stride[0]) == strides


def test_padded_shortcut() -> None:
    x = torch.arange(2 * 16 * 5 * 5, dtype=torch.float32).view(2, 16, 5, 5)
    y = PadShortcut(16, 32, 2)(x)
    assert y.shape == (2, 32, 3, 3)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()
    assert not list(PadShortcut(16, 32, 2).parameters())


def test_shortcuts_only_where_the_shape_changes() -> None:
    stages = create_model("resnet50").stages
    kinds = [[type(block.shortcut) for block in stage] for stage in stages]
    assert all(stage[0] is ProjectShortcut and set(stage[1:]) == {nn.Identity} for stage in kinds)
    first = create_model("resnet18").stages[0][0]
    assert isinstance(first.shortcut, nn.Identity)


def test_maps_shrink_by_32_and_by_4() -> None:
    with torch.inference_mode():
        x = torch.randn(1, 3, 64, 96)
        assert create_model("resnet18").eval().forward_features(x).shape == (1, 512, 2, 3)
        assert create_model("resnet20_cifar10").eval().forward_features(x).shape == (1, 64, 16, 24)


def test_initialisation_is_he_by_fan_out() -> None:
    torch.manual_seed(0)
    model = create_model("resnet18")
    weight = model.stages[2][1].conv1.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert abs(float(weight.mean())) < 1e-3
    assert all(bool((m.weight == 1).all()) for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert not model.head.bias.any()
    zeroed = create_model("resnet50", zero_init_residual=True)
    assert not zeroed.stages[0][0].norm3.weight.any()
    assert zeroed.stages[0][0].norm2.weight.all()


def test_a_new_residual_block_starts_as_the_identity_if_asked() -> None:
    block = create_model("resnet18", zero_init_residual=True).eval().stages[0][0]
    x = torch.randn(2, 64, 8, 8).relu()
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("block", "wide", "block 'wide' is none of basic, bottleneck"),
        ("shortcut", "C", "shortcut 'C' is none of A, B"),
        ("stem", "big", "stem 'big' is none of imagenet, cifar"),
        ("stride_in", "5x5", "stride_in '5x5' is none of 3x3, 1x1"),
        ("depth", (), "depth"),
        ("depth", (2, 0), "depth 0"),
        ("width", 0, "width 0"),
        ("in_chans", 0, "in_chans 0"),
        ("num_classes", -1, "num_classes -1"),
        ("drop_rate", 1.0, "drop_rate 1.0"),
    ],
)
def test_bad_options(option: str, value: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ResNetConfig(**{"depth": (2, 2), option: value})
    with pytest.raises(UsageError, match=f"resnet18: .*{match}"):
        create_model("resnet18", **{option: value})


def test_an_image_too_small() -> None:
    with pytest.raises(UsageError, match="images of 7x9 pixels are too small"):
        create_model("resnet18")(torch.randn(1, 3, 7, 9))
