"""What is particular to EfficientNet: table 1, the compound scaling, its two forms."""

import dataclasses

import pytest
import torch
from torch import nn

from corinth import create_model
from corinth.models.convolutional.efficientnet import EfficientNetConfig


def test_maps_have_the_sizes_of_table_1() -> None:
    sizes = []
    with torch.device("meta"):
        model = create_model("efficientnet_b0").eval()
        for part in (model.stem, *model.stages, model.last):
            part.register_forward_hook(lambda _m, _x, out: sizes.append(tuple(out.shape[1:])))
        model(torch.empty(1, 3, 224, 224))
    assert sizes == [
        (32, 112, 112), (16, 112, 112), (24, 56, 56), (40, 28, 28), (80, 14, 14), (112, 14, 14), (192, 7, 7),
        (320, 7, 7), (1280, 7, 7),
    ]  # fmt: skip
    assert [len(stage) for stage in model.stages] == [1, 2, 2, 3, 3, 4, 1]


@pytest.mark.parametrize(
    ("name", "layers", "last", "features"),
    [
        ("efficientnet_b1", (2, 3, 3, 4, 4, 5, 2), 320, 1280),
        ("efficientnet_b4", (2, 4, 4, 6, 6, 8, 2), 448, 1792),
        ("efficientnet_b7", (4, 7, 7, 10, 10, 13, 4), 640, 2560),
    ],
)
def test_compound_scaling(name: str, layers: tuple[int, ...], last: int, features: int) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert model.cfg.layers == tuple(map(len, model.stages)) == layers
    assert (model.last.conv.in_channels, model.last.conv.out_channels) == (last, features)
    assert model.cfg.num_features == features


def test_squeeze_and_excitation_is_a_quarter_of_the_blocks_input() -> None:
    model = create_model("efficientnet_b0")
    widths = [block.excite.reduce.out_channels for stage in model.stages for block in stage]
    assert widths == [8, 4, 6, 6, 10, 10, 20, 20, 20, 28, 28, 28, 48, 48, 48, 48]


def test_stochastic_depth_grows_from_zero_to_the_last_block() -> None:
    model = create_model("efficientnet_b0")
    rates = [block.stochastic_depth.rate for stage in model.stages for block in stage]
    assert rates == pytest.approx([0.2 * i / 16 for i in range(16)])


def test_residuals_where_the_shape_stays() -> None:
    model = create_model("efficientnet_b0")
    flags = [[block.is_residual for block in stage] for stage in model.stages]
    assert flags == [[False], *([False] + [True] * (n - 1) for n in (2, 2, 3, 3, 4)), [False]]


def test_the_two_forms_have_equal_tensors_and_unequal_results() -> None:
    ours = create_model("efficientnet_b0", num_classes=3).eval()
    tf = create_model("tf_efficientnet_b0", num_classes=3).eval()
    tf.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(ours(x), tf(x), rtol=1e-3)
    assert {m.eps for m in tf.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize("size", [32, 33, 47])
@pytest.mark.parametrize("name", ["efficientnet_b0", "tf_efficientnet_b0"])
def test_any_size_trains(name: str, size: int) -> None:
    model = create_model(name, num_classes=3)
    model(torch.randn(2, 3, size, size)).sum().backward()
    assert model.stages[5][0].depthwise.conv.weight.grad.isfinite().all()


@pytest.mark.parametrize(
    ("option", "value"),
    [("width", 0), ("width", float("nan")), ("depth", -1.0), ("norm_eps", 0.0), ("norm_momentum", 1.0),
     ("drop_path_rate", 1.0), ("same_padding", "yes")],
)  # fmt: skip
def test_bad_options(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option} {value!r}"):
        dataclasses.replace(EfficientNetConfig(), **{option: value})
