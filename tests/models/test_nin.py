"""Network in Network: rounding-up pools, the averaged class maps, what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import corinth


@pytest.mark.parametrize(
    ("name", "options", "sizes"),
    [
        ("nin_cifar10", {}, [16, 8]),
        ("nin_cifar10", {"pool_padding": 1}, [16, 8]),
        ("nin_imagenet", {}, [27, 13, 6]),  # 224: 54 behind conv1; Caffe's pools round up
    ],
)
def test_pool_sizes(name: str, options: dict, sizes: list[int]) -> None:
    seen: list[int] = []
    with torch.device("meta"):
        model = corinth.create_model(name, **options).eval()
        for pool in model.pools:
            pool.register_forward_hook(lambda _layer, _inputs, output: seen.append(output.shape[-1]))
        model(torch.empty(1, *corinth.card(name).input_size))
    assert seen == sizes


def test_logits_are_the_mean_of_rectified_class_maps() -> None:
    """Section 3.2 after equation 2; `head_relu=False` averages the maps as they are."""
    torch.manual_seed(0)
    model = corinth.create_model("nin_cifar10").eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        nn.init.zeros_(model.head.bias)
        maps = F.conv2d(model.forward_features(x), model.head.weight)
        torch.testing.assert_close(model(x), maps.clamp(min=0).mean(dim=(2, 3)))
        free = corinth.create_model("nin_cifar10", head_relu=False).eval()
        free.load_state_dict(model.state_dict())
        torch.testing.assert_close(free(x), maps.mean(dim=(2, 3)))


def test_no_class_starts_dead() -> None:
    """A rectified map that is zero on every image would never learn."""
    for seed in range(5):
        torch.manual_seed(seed)
        model = corinth.create_model("nin_cifar10").eval()
        with torch.no_grad():
            assert (model(torch.randn(4, 3, 16, 16)).amax(dim=0) > 0).all()
    model.reset_head(3)
    assert (model.head.bias > 0).all()


def test_dropout_sits_behind_the_marked_pools() -> None:
    for name, expected in (("nin_cifar10", 2), ("nin_imagenet", 1)):
        model = corinth.create_model(name, num_classes=2).train()
        calls: list[int] = []
        model.drop.register_forward_hook(lambda _layer, _inputs, output, calls=calls: calls.append(output.shape[1]))
        with torch.no_grad():
            model(torch.randn(1, 3, 39, 39))
        assert len(calls) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": ("max",)}, r"pool \('max',\) needs 2 entries for 3 layers"),
        ({"pool": ("max", "min")}, "pool 'min' is none of max, avg"),
        ({"channels": ((192, 0, 96), (192,), (192,))}, "channels 0 is not a whole number of at least 1"),
        ({"channels": ()}, r"channels \(\) needs at least one layer"),
        ({"pool_padding": 2}, "pool_padding 2 is neither 0 nor 1"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corinth.create_model("nin_cifar10", **options)
