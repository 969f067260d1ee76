"""The plain convolutional network: its sizes and what it refuses."""

import pytest
import torch

import corinth
from corinth.errors import UsageError
from corinth.models.convolutional.cnn import CnnConfig


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({}, 4),  # 32 -> 16 -> 8 -> 4
        ({"padding": "valid", "img_size": 30}, 2),  # 30 -> 28 -> 14 -> 12 -> 6 -> 4 -> 2
        ({"padding": "valid", "kernel_size": (5, 3), "channels": (4, 8), "img_size": 28}, 5),
        ({"channels": (4,), "kernel_size": 11, "stride": 4, "padding": "valid", "pool_size": 3, "pool_stride": 2,
          "img_size": 227}, 27),  # AlexNet's first stage: 227 -> 55 -> 27
        ({"channels": (4, 4), "depth": (2, 1), "stride": (2, 1), "pool_size": 1, "img_size": 9}, 5),
    ],
)  # fmt: skip
def test_sizes_follow_the_formula(options: dict, side: int) -> None:
    model = corinth.create_model("cnn", **options).eval()
    size = model.cfg.img_size
    assert model.cfg.map_size() == side
    assert model.forward_features(torch.randn(1, 3, size, size)).shape[-2:] == (side, side)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"img_size": 28},
            r"pool3 sees 7 pixels, and \(7 \+ 0 - 2\)/2 \+ 1 = 3\.5 is not a whole number; 24 or 32 would",
        ),
        ({"padding": "valid", "stride": 2}, r"conv1\.1 sees 32 pixels, and \(32 \+ 0 - 3\)/2 \+ 1 = 15\.5"),
        (
            {"img_size": 2, "channels": (4,), "padding": "valid"},
            r"conv1\.1 sees 2 pixels, fewer than its window of 3; 4 w",
        ),
        ({"kernel_size": 4}, "kernel_size 4 with padding 'same' needs an odd number, such as 5"),
        ({"kernel_size": (3, 3)}, r"kernel_size \(3, 3\) needs 3 entries, one a stage, or one number"),
        ({"kernel_size": 0}, "kernel_size 0 is not a whole number of at least 1"),
        ({"channels": ()}, r"channels \(\) needs at least one stage"),
        ({"fc_dims": (0,)}, "fc_dims 0 is not a whole number of at least 1"),
        ({"activation": "gelu"}, "activation 'gelu' is none of relu, sigmoid, tanh"),
        ({"pool": "min"}, "pool 'min' is none of max, avg"),
        ({"padding": "full"}, "padding 'full' is none of valid, same"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        corinth.create_model("cnn", **options)


def test_no_size_fits() -> None:
    with pytest.raises(ValueError, match="no size up to 1024 does"):
        CnnConfig(img_size=20, channels=(4,) * 11)  # halving eleven times needs 2048 pixels


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_activation_and_pool_are_what_the_config_says(activation: str, pool: str) -> None:
    torch.manual_seed(0)
    model = corinth.create_model("cnn", activation=activation, pool=pool, channels=(4,), img_size=8).eval()
    x = torch.randn(2, 3, 8, 8)
    conv = model.features[0](x)
    pools = {"max": torch.nn.functional.max_pool2d, "avg": torch.nn.functional.avg_pool2d}
    assert torch.equal(model.forward_features(x), pools[pool](getattr(torch, activation)(conv), 2))


def test_no_hidden_layer() -> None:
    """The map goes straight to the classifier; without a head the map itself is the feature."""
    model = corinth.create_model("cnn", fc_dims=(), num_classes=0)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 128 * 4 * 4)


def test_dropout_only_in_training() -> None:
    model = corinth.create_model("cnn")
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))
