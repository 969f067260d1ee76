"""Checks of config fields: what a command line or a JSON file can put there by mistake is named, not taken."""

import pytest

import corinth
from corinth.errors import UsageError
from corinth.layers import checks


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnn", {"channels": 32}, r"channels 32 is no list of values, such as \(32,\)"),
        ("cnn", {"depth": 1.5}, "depth 1.5 is not a whole number"),
        ("cnn", {"kernel_size": "big"}, "kernel_size 'big' is not a whole number"),
        ("resnet18", {"depth": 3}, "depth 3 is no list"),
        ("nin_cifar10", {"channels": 3}, "channels 3 is no list"),
        ("nin_cifar10", {"channels": (3, 4, 5)}, "channels 3 is no list"),
        ("nin_cifar10", {"drop": ("no", "no")}, "drop 'no' is neither true nor false"),
        ("nin_cifar10", {"head_relu": "no"}, "head_relu 'no' is neither true nor false"),
        ("alexnet", {"response_norm": "no"}, "response_norm 'no' is neither true nor false"),
        ("vgg11", {"batch_norm": "no"}, "batch_norm 'no' is neither true nor false"),
        ("vgg11", {"batch_norm": 0}, "batch_norm 0 is neither true nor false"),
        ("resnet18", {"zero_init_residual": "off"}, "zero_init_residual 'off' is neither true nor false"),
        ("googlenet", {"batch_norm": "no"}, "batch_norm 'no' is neither true nor false"),
        ("googlenet", {"aux_heads": "no"}, "aux_heads 'no' is neither true nor false"),
        ("googlenet", {"aux_weight": "x"}, "aux_weight 'x' is not a number of at least 0"),
        ("googlenet", {"aux_weight": float("nan")}, "aux_weight nan is not a number"),
        ("googlenet", {"five_kernel": 5.0}, r"five_kernel 5\.0 is not a whole number"),
    ],
)
def test_values_of_the_wrong_kind(name: str, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        corinth.create_model(name, **options)


def test_lists_are_taken_as_tuples() -> None:
    assert checks.entries("depth", [1, 2]) == checks.entries("depth", (1, 2)) == (1, 2)
