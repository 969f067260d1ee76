"""VGG beside table 1 of the paper."""

import pytest
import torch
from torch import nn

import corinth
from corinth.training.recipe import recipe_for


@pytest.mark.parametrize("layers", [11, 13, 16, 19])
@pytest.mark.parametrize("suffix", ["", "_bn"])
def test_the_name_counts_the_weighted_layers(layers: int, suffix: str) -> None:
    with torch.device("meta"):
        model = corinth.create_model(f"vgg{layers}{suffix}")
    weighted = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(weighted) == layers
    assert all(layer.kernel_size == (3, 3) for layer in weighted if isinstance(layer, nn.Conv2d))
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == (layers - 3 if suffix else 0)


def test_configuration_d_stage_by_stage() -> None:
    """Table 1, column D: widths between the pools."""
    with torch.device("meta"):
        model = corinth.create_model("vgg16")
    widths: list[list[int]] = [[]]
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            widths[-1].append(layer.out_channels)
        elif isinstance(layer, nn.MaxPool2d):
            widths.append([])
    assert widths == [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3, []]


def test_the_pool_before_the_classifier_does_nothing_at_224() -> None:
    with torch.device("meta"):
        model = corinth.create_model("vgg11", fc_dim=8).eval()
        assert model.forward_features(torch.empty(1, 3, 224, 224)).shape == (1, 512, 7, 7)


def test_signals_keep_their_scale() -> None:
    """He's initialisation, for which 19 layers neither vanish nor explode; the paper needed pre-training."""
    torch.manual_seed(0)
    model = corinth.create_model("vgg19", fc_dim=8).eval()
    with torch.inference_mode():
        scale = model.forward_features(torch.randn(2, 3, 64, 64)).std()
    assert 0.05 < scale < 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": (1, 1)}, r"depth \(1, 1\) needs 5 entries, one a stage"),
        ({"depth": (1, 1, 0, 1, 1)}, "depth 0 is not a whole number of at least 1"),
        ({"fc_dim": 0}, "fc_dim 0 is not a whole number of at least 1"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corinth.create_model("vgg16", **options)


def test_the_deepest_without_norms_takes_smaller_batches() -> None:
    assert corinth.card("vgg19").recipe["batch_size"] < recipe_for("vgg16", "digits").batch_size
    assert corinth.card("vgg19_bn").recipe == corinth.card("vgg11_bn").recipe
