"""What is particular to MobileNet V1, V2 and V3: the papers' tables, widths, blocks, forms of the public weights."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from corinth import create_model, dump_weights, load_weights
from corinth.errors import UsageError
from corinth.layers.mobile import SqueezeExcite
from corinth.models.convolutional.mobilenetv1 import MobileNetV1Config
from corinth.models.convolutional.mobilenetv2 import MobileNetV2Config
from corinth.models.convolutional.mobilenetv3 import MobileNetV3Config
from corinth.registry import entry

# map sizes behind each stage: V1 table 1, V2 table 2, V3 tables 1 (large) and 2 (small)
MAPS = {
    "mobilenetv1_100": [(64, 112), (128, 56), (256, 28), (512, 14), (1024, 7)],
    "mobilenetv2_100": [(16, 112), (24, 56), (32, 28), (64, 14), (96, 14), (160, 7), (320, 7)],
    "mobilenetv3_large_100": [(16, 112), (24, 56), (40, 28), (80, 14), (112, 14), (160, 7)],
    "mobilenetv3_small_100": [(16, 56), (24, 28), (40, 14), (48, 14), (96, 7)],
}
CONFIGS = (MobileNetV1Config(), MobileNetV2Config(), MobileNetV3Config(size="small"))


def on_meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, **options).eval()


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("same_padding", [False, True])
def test_maps_have_the_papers_sizes(name: str, same_padding: bool) -> None:
    sizes = []
    model = on_meta(name, same_padding=same_padding)
    for stage in model.stages:
        stage.register_forward_hook(lambda _m, _x, out: sizes.append(tuple(out.shape[1:])))
    with torch.device("meta"):
        model(torch.empty(1, 3, 224, 224))
    assert sizes == [(chans, side, side) for chans, side in MAPS[name]]


@pytest.mark.parametrize(
    ("name", "options", "params"),
    [
        # the V1 paper's table 6 says 4.2, 2.6, 1.3 and 0.5 million
        ("mobilenetv1_100", {"width": 0.75}, 2_585_560),
        ("mobilenetv1_100", {"width": 0.5}, 1_331_592),
        ("mobilenetv1_100", {"width": 0.25}, 470_072),
        ("mobilenetv1_100", {"num_classes": 1001}, 4_233_001),  # the authors' checkpoints have a background class
        ("mobilenetv2_100", {"num_classes": 1001}, 3_506_153),
        ("mobilenetv2_100", {"num_classes": 0}, 2_223_872),
        ("mobilenetv3_small_100", {"num_classes": 0}, 1_517_856),
    ],
)
def test_parameters(name: str, options: dict[str, Any], params: int) -> None:
    assert sum(p.numel() for p in on_meta(name, **options).parameters()) == params


def test_v1_is_28_layers_of_separable_convolutions() -> None:
    model = on_meta("mobilenetv1_100")
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == 28  # section 3.2, depthwise and pointwise counted apart
    assert [c.kernel_size[0] for c in convolutions[1:]] == [3, 1] * 13
    assert all(c.groups == c.in_channels == c.out_channels for c in convolutions[1::2])


@pytest.mark.parametrize(("act", "most"), [("relu6", 6.0), ("relu", 9.0)])
def test_v1_has_the_papers_activation_if_asked(act: str, most: float) -> None:
    model = create_model("mobilenetv1_100", act=act, num_classes=2).eval()
    nn.init.constant_(model.stem.norm.bias, 9.0)
    with torch.inference_mode():
        assert float(model.stem(torch.zeros(1, 3, 32, 32)).max()) == most


def test_v2_projects_without_activation_and_adds_where_the_shape_stays() -> None:
    model = create_model("mobilenetv2_035", num_classes=2).eval()
    blocks = [block for stage in model.stages for block in stage]
    assert len(blocks) == 17
    assert all(isinstance(block.project.act, nn.Identity) for block in blocks)
    assert isinstance(blocks[0].expand, nn.Identity)
    assert [block.is_residual for stage in on_meta("mobilenetv2_100").stages for block in stage] == [
        *(False, False, True, False, True, True, False, True, True, True),
        *(False, True, True, False, True, True, False),
    ]  # fmt: skip
    block = blocks[2]
    assert block.is_residual
    x = torch.randn(2, 8, 9, 9)
    before = x.clone()
    y = block(x)
    assert torch.equal(x, before), "the sum in place must not touch the input"
    torch.testing.assert_close(y, before + block.project(block.depthwise(block.expand(before))))


@pytest.mark.parametrize(("width", "features"), [(0.35, 1280), (1.0, 1280), (1.4, 1792)])
def test_v2_narrow_networks_keep_a_wide_last_layer(width: float, features: int) -> None:
    model = on_meta("mobilenetv2_100", width=width)
    assert model.cfg.num_features == model.last.conv.out_channels == model.head.in_features == features


def test_v3_excites_where_the_tables_say() -> None:
    excites = {
        name: [isinstance(block.excite, SqueezeExcite) for stage in on_meta(name).stages for block in stage]
        for name in ("mobilenetv3_large_100", "mobilenetv3_small_100")
    }
    large, small = excites.values()
    assert [i for i, on in enumerate(large) if on] == [3, 4, 5, 10, 11, 12, 13, 14]
    assert [i for i, on in enumerate(small) if not on] == [1, 2]
    block = on_meta("mobilenetv3_large_100").stages[4][1]
    assert block.excite.reduce.out_channels == 672 // 4  # section 5.3
    x = torch.linspace(-4, 4, 9)
    assert torch.equal(block.excite.gate(x), F.hardsigmoid(x))
    assert torch.equal(block.excite.act(x.clone()), F.relu(x))
    assert torch.equal(block.depthwise.act(x.clone()), F.hardswish(x))


def test_v3_pools_before_its_widest_layer() -> None:
    model = create_model("mobilenetv3_small_050", num_classes=0).eval()
    with torch.inference_mode():
        x = torch.randn(2, 3, 64, 96)
        assert model.forward_features(x).shape == (2, 288, 2, 3)
        assert model(x).shape == (2, 1024) == (2, model.cfg.num_features)


def test_the_two_forms_of_v3_differ() -> None:
    """TensorFlow's padding is shifted by a pixel: the same weights give something else."""
    torch.manual_seed(0)
    ours, tf = (create_model(f"{form}mobilenetv3_small_075", num_classes=5).eval() for form in ("", "tf_"))
    tf.load_state_dict(ours.state_dict())
    assert {m.eps for m in ours.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-5}
    assert {m.eps for m in tf.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    with torch.inference_mode():
        x = torch.randn(2, 3, 48, 48)
        assert not torch.allclose(ours(x), tf(x), rtol=1e-2)


@pytest.mark.parametrize(("eps", "notes"), [(1e-5, 1), (1e-3, 0)])
def test_torchvisions_v3_weights_want_another_epsilon(eps: float, notes: int) -> None:
    model = create_model("mobilenetv3_small_100", num_classes=2, norm_eps=eps)
    report = load_weights(model, dump_weights(model, source="torchvision"), source="torchvision")
    assert len(report.notes) == notes
    assert all("norm_eps=1e-3" in note for note in report.notes)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tf_mobilenetv3_small_100", {}),
        ("mobilenetv3_small_075", {}),
        ("mobilenetv2_100", {"same_padding": True}),
        ("mobilenetv1_100", {}),
    ],
)
def test_what_torchvision_has_not(name: str, options: dict[str, Any]) -> None:
    model = on_meta(name, **options)
    with pytest.raises(UsageError, match="has no weights layout 'torchvision'"):
        dump_weights(model, source="torchvision")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch.compile's own imports
@pytest.mark.parametrize("name", ["mobilenetv1_100", "tf_mobilenetv3_small_075"])
@pytest.mark.parametrize("training", [False, True])
def test_the_compiler_sees_one_graph(name: str, training: bool) -> None:
    model = create_model(name, num_classes=2).train(training)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.set_grad_enabled(training):
        assert compiled(torch.randn(2, 3, 32, 32)).shape == (2, 2)


def test_torchvisions_name() -> None:
    assert entry("mobilenet_v2").alias_of == "mobilenetv2_100"


@pytest.mark.parametrize("cfg", CONFIGS, ids=lambda cfg: type(cfg).__name__)
@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("width", 0, "width 0 is not a number of more than 0"),
        ("norm_eps", -1e-3, "norm_eps -0.001 is not a number of more than 0"),
        ("norm_momentum", 1.0, r"norm_momentum 1.0 is not in \[0, 1\)"),
        ("same_padding", 1, "same_padding 1 is neither true nor false"),
        ("drop_rate", 1.0, r"drop_rate 1.0 is not in \[0, 1\)"),
        ("num_classes", 2.0, "num_classes 2.0 is not a whole number of at least 0"),
    ],
)
def test_bad_options(cfg: Any, option: str, value: object, match: str) -> None:
    size = {"size": cfg.size} if hasattr(cfg, "size") else {}
    with pytest.raises(ValueError, match=match):
        type(cfg)(**size, **{option: value})


def test_bad_names() -> None:
    with pytest.raises(UsageError, match="mobilenetv3_small_100: size 'medium' is none of large, small"):
        create_model("mobilenetv3_small_100", size="medium")
    with pytest.raises(UsageError, match="mobilenetv1_100: act 'swish' is none of relu, relu6"):
        create_model("mobilenetv1_100", act="swish")


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = create_model("mobilenetv3_large_100")
    weight = model.widen.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / 1280) ** 0.5, rel=0.02)  # as the 1x1 convolution that it is
    assert not model.widen.bias.any()
    depthwise = model.stages[5][2].depthwise.conv.weight.detach()
    assert float(depthwise.std()) == pytest.approx((2 / 25) ** 0.5, rel=0.02)
    assert float(model.head.weight.detach().abs().max()) == pytest.approx(1000**-0.5, rel=1e-3)
