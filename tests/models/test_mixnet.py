"""What is particular to MixNet: figure 4's maps and kernels, groups of channels, its forms."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth import create_model
from corinth.layers.mixed import MixConv
from corinth.models.convolutional.mixnet import MixNetConfig, PairConv2d

SMALL = MixNetConfig(variant="S")
KERNELS = {  # figure 4, block by block
    "mixnet_s": [
        (3,), (3,), (3,), (3, 5, 7), *[(3, 5)] * 3, (3, 5, 7), *[(3, 5)] * 2,
        (3, 5, 7), *[(3, 5, 7, 9)] * 2, (3, 5, 7, 9, 11), *[(3, 5, 7, 9)] * 2,
    ],
    "mixnet_m": [
        (3,), (3, 5, 7), (3,), (3, 5, 7, 9), *[(3, 5)] * 3, (3, 5, 7), *[(3, 5, 7, 9)] * 3,
        (3,), *[(3, 5, 7, 9)] * 3, (3, 5, 7, 9), *[(3, 5, 7, 9)] * 3,
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", ["mixnet_s", "mixnet_m", "mixnet_l"])
def test_blocks_are_those_of_figure_4(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
        blocks = [block for stage in model.stages for block in stage]
        sizes = []
        for stage in model.stages:
            stage.register_forward_hook(lambda _m, _x, out: sizes.append(tuple(out.shape[1:])))
        model.eval()(torch.empty(1, 3, 224, 224))
    convs = [block.mix.conv for block in blocks]
    kernels = [tuple(c.kernel_size[0] for c in (conv.convs if isinstance(conv, MixConv) else [conv])) for conv in convs]
    assert kernels == KERNELS["mixnet_m" if name == "mixnet_l" else name]
    widths = {"mixnet_s": (16, 24, 40, 80, 120, 200), "mixnet_m": (24, 32, 40, 80, 120, 200),
              "mixnet_l": (32, 40, 56, 104, 160, 264)}[name]  # fmt: skip
    assert sizes == [(width, side, side) for width, side in zip(widths, (112, 56, 28, 14, 14, 7))]


def test_activations_and_excitation() -> None:
    """ReLU up to the 40 channels, swish from there on; squeeze-and-excitation .5 of the input, .25 at 80 channels."""
    model = create_model("mixnet_s")
    acts = [type(block.mix.act).__name__ for stage in model.stages for block in stage]
    assert acts == ["ReLU"] * 3 + ["Swish"] * 13
    assert type(model.last.act).__name__ == "ReLU"
    widths = [
        None if isinstance(block.excite, nn.Identity) else block.excite.reduce.out_channels
        for stage in model.stages
        for block in stage
    ]
    assert widths == [None] * 3 + [12, 20, 20, 20, 10, 20, 20, 40, 60, 60, 60, 100, 100]


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("mixnet_s", ["", "ep", "ep", "", "ep", "ep", "ep", "p", "p", "p", "ep", "ep", "ep", "", "p", "p"]),
        ("mixnet_m", ["", "ep", "ep", "", *["ep"] * 3, "", *["ep"] * 3, "", *["ep"] * 3, "", *["p"] * 3]),
    ],
)
def test_which_pointwise_convolutions_have_two_groups(name: str, groups: list[str]) -> None:
    model = create_model(name)
    found = [
        "".join(
            letter
            for letter, part in (("e", block.expand), ("p", block.project))
            if isinstance(getattr(part, "conv", None), PairConv2d)
        )
        for stage in model.stages
        for block in stage
    ]
    assert found == groups


def merged(conv: MixConv, x: Tensor) -> Tensor:
    """All kernels padded into the largest one, run as one depthwise convolution."""
    size = max(c.kernel_size[0] for c in conv.convs)
    pads = [(size - c.kernel_size[0]) // 2 for c in conv.convs]
    weight = torch.cat([F.pad(c.weight, (pad,) * 4) for c, pad in zip(conv.convs, pads)])
    return F.conv2d(x, weight, None, conv.stride, size // 2, groups=len(weight))


@pytest.mark.parametrize(("chans", "kernels"), [(7, (3, 5)), (12, (3, 5, 7)), (23, (3, 5, 7, 9, 11))])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_mixconv_is_one_depthwise_convolution_with_padded_kernels(
    chans: int, kernels: tuple[int, ...], stride: int
) -> None:
    conv = MixConv(chans, kernels, stride, same=False).double()
    each = chans // len(kernels)
    assert conv.widths == [chans - each * (len(kernels) - 1)] + [each] * (len(kernels) - 1)
    x = torch.randn(2, chans, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(conv(x), merged(conv, x))
    scale, shift = torch.randn(2, chans, dtype=torch.float64)
    expected = merged(conv, x) * scale[:, None, None] + shift[:, None, None]
    torch.testing.assert_close(conv.scaled(x, scale, shift), expected)


def test_a_pair_is_two_convolutions_side_by_side() -> None:
    conv, x = PairConv2d(6, 8), torch.randn(2, 6, 4, 4)
    halves = [F.conv2d(part, weight) for part, weight in zip(x.chunk(2, 1), (conv.first, conv.second))]
    torch.testing.assert_close(conv(x), torch.cat(halves, 1))
    scale, shift = torch.randn(2, 8)
    expected = torch.cat(halves, 1) * scale[:, None, None] + shift[:, None, None]
    torch.testing.assert_close(conv.scaled(x, scale, shift), expected)
    torch.manual_seed(0)
    big = PairConv2d(512, 256)
    for weight in (big.first, big.second):  # fan-out of one group
        assert float(weight.detach().std()) == pytest.approx((2 / 128) ** 0.5, rel=0.02)


def test_the_two_forms_have_equal_tensors_and_unequal_results() -> None:
    ours, tf = create_model("mixnet_s", num_classes=3).eval(), create_model("tf_mixnet_s", num_classes=3).eval()
    tf.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(ours(x), tf(x), rtol=1e-3)
    assert {m.eps for m in tf.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


def test_stochastic_depth_grows_from_zero_to_the_last_block() -> None:
    model = create_model("mixnet_m", drop_path_rate=0.19)
    rates = [block.stochastic_depth.rate for stage in model.stages for block in stage]
    assert rates == pytest.approx([0.19 * i / 19 for i in range(19)])
    assert create_model("mixnet_m", depth=1.2).cfg.stages[2][-1] == create_model("mixnet_m").cfg.stages[2][-1]


@pytest.mark.parametrize("size", [32, 33, 47])
@pytest.mark.parametrize("name", ["mixnet_s", "tf_mixnet_s"])
def test_any_size_trains(name: str, size: int) -> None:
    model = create_model(name, num_classes=3)
    model(torch.randn(2, 3, size, size)).sum().backward()
    assert model.stages[5][0].mix.conv.convs[4].weight.grad.isfinite().all()  # 11x11


@pytest.mark.parametrize(
    ("option", "value"),
    [("variant", "L"), ("width", 0), ("depth", -1.0), ("norm_eps", 0.0), ("norm_momentum", 1.0),
     ("drop_path_rate", 1.0), ("same_padding", 1)],
)  # fmt: skip
def test_bad_options(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option} {value!r}"):
        dataclasses.replace(SMALL, **{option: value})
