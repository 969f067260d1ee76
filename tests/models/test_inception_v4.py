"""What is particular to Inception-v4 and Inception-ResNet-v2: map sizes, residuals and their scales, depth."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from corinth import create_model
from corinth.errors import UsageError
from corinth.models.convolutional.inception_v4 import InceptionV4Config, Residual, residual_b

STAGES = ("stem", "inception_a", "reduction_a", "inception_b", "reduction_b", "inception_c", "last")


@pytest.mark.parametrize(
    ("name", "chans"),
    [
        ("inception_v4", (384, 384, 1024, 1024, 1536, 1536, 1536)),  # figure 9
        ("inception_resnet_v2", (320, 320, 1088, 1088, 2080, 2080, 1536)),  # the authors' released network
    ],
)
def test_maps_have_the_papers_sizes(name: str, chans: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = create_model(name).eval()
    found = {}
    for stage in STAGES:
        model.get_submodule(stage).register_forward_hook(
            lambda _m, _x, out, stage=stage: found.__setitem__(stage, tuple(out.shape[1:]))
        )
    model(torch.empty(1, 3, 299, 299, device="meta"))
    assert found == {stage: (width, side, side) for stage, width, side in zip(STAGES, chans, (35, 35, 17, 17, 8, 8, 8))}


def test_the_stem_has_the_papers_sizes() -> None:
    with torch.device("meta"):
        stem = create_model("inception_v4").stem
        x, sizes = torch.empty(1, 3, 299, 299), []
        for layer in stem:
            x = layer(x)
            sizes.append(tuple(x.shape[1:]))
    assert sizes == [(32, 149, 149), (32, 147, 147), (64, 147, 147), (160, 73, 73), (192, 71, 71), (384, 35, 35)]


def test_the_number_of_modules_is_the_depth() -> None:
    with torch.device("meta"):
        v4, resnet = (create_model(name) for name in ("inception_v4", "inception_resnet_v2"))
        small = create_model("inception_resnet_v2", depth=(1, 1, 2)).eval()
        assert small(torch.empty(1, 3, 80, 75)).shape == (1, 1000)
    assert [len(v4.get_submodule(f"inception_{x}")) for x in "abc"] == [4, 7, 3]
    assert [len(resnet.get_submodule(f"inception_{x}")) for x in "abc"] == [10, 20, 10]
    assert all(m.eps == 1e-3 for net in (v4, resnet) for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_residuals_have_the_papers_scales() -> None:
    with torch.device("meta"):
        model = create_model("inception_resnet_v2")
    assert {block.scale for block in model.inception_a} == {0.17}
    assert {block.scale for block in model.inception_b} == {0.10}
    assert [(block.scale, block.relu) for block in model.inception_c] == [(0.20, True)] * 9 + [(1.0, False)]
    with torch.device("meta"):
        assert not any(isinstance(m, Residual) for m in create_model("inception_v4").modules())


def test_a_residual_is_scaled_before_the_sum() -> None:
    torch.manual_seed(0)
    block = residual_b(0.1).eval()
    x = torch.randn(1, 1088, 3, 5)
    before = x.clone()
    with torch.inference_mode():
        branches = torch.cat([branch(x) for branch in block.mixed.branches], dim=1)
        want = F.relu(x + 0.1 * F.conv2d(branches, block.up.weight, block.up.bias))
        torch.testing.assert_close(block(x), want)
    assert torch.equal(x, before), "the block overwrote its input"
    assert "scale=0.1" in repr(block)


def test_averages_leave_the_padding_out() -> None:
    with torch.device("meta"):
        v4, resnet = (create_model(name) for name in ("inception_v4", "inception_resnet_v2"))
    projections = [v4.inception_a[0].branches[3], v4.inception_c[2].branches[3], resnet.stem[7].branches[3]]
    assert not any(projection.count_pad for projection in projections)


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = create_model("inception_resnet_v2", depth=(1, 1, 1))
    up = model.inception_b[0].up
    for layer, fan_in in ((up, 384), (model.last.conv, 2080), (model.head, 1536)):
        assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert not up.bias.any()
    assert not model.head.bias.any()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("depth", (4, 7), r"depth \(4, 7\) has not three values, for the modules A, B and C"),
        ("depth", 4, "depth 4 is no list of values"),
        ("depth", (4, 0, 3), "depth 0 is not a whole number of at least 1"),
        ("depth", None, "depth None is no list of values"),
        ("scales", (0.1, 0.1), r"scales \(0.1, 0.1\) has not three values"),
        ("scales", (0.1, -1.0, 0.1), "scales -1.0 is not a number of at least 0"),
        ("drop_rate", 1.0, "drop_rate 1.0 is not in"),
    ],
)
def test_bad_options(option: str, value: Any, message: str) -> None:
    options = {"depth": (4, 7, 3), "scales": (0.1, 0.1, 0.1)} | {option: value}
    with pytest.raises(ValueError, match=message):
        InceptionV4Config(**options)


def test_an_image_too_small_is_refused() -> None:
    with torch.device("meta"):
        model = create_model("inception_v4").eval()
        assert model(torch.empty(1, 3, 75, 300)).shape == (1, 1000)
        with pytest.raises(UsageError, match="images of 74x300 pixels are too small for this network; it needs 75x75"):
            model(torch.empty(1, 3, 74, 300))
