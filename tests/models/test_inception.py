"""What is particular to BN-Inception and Inception-v3: tables, forms, alias, auxiliary head, the bias switch."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from corinth import card, create_model, list_models, load_weights
from corinth.data.preprocess import Preprocess
from corinth.errors import UsageError, WeightsError
from corinth.layers.auxiliary import WithAux
from corinth.layers.inception import ConvUnit, PoolProj, last_side
from corinth.models.convolutional.inception import BN_TABLE, BnInception, BnInceptionConfig, InceptionV3Config
from corinth.registry import entry
from corinth.training.recipe import recipe_for
from corinth.weights import dump_weights, load_model, save_model


@pytest.mark.parametrize(
    ("name", "options", "params"),
    [
        ("bn_inception", {}, 11_285_224),
        ("bn_inception", {"conv_bias": True}, 11_295_240),  # pytorchcv, Caffe
        ("inception_v3", {}, 23_834_568),  # timm; torchvision, aux_logits=False
        ("inception_v3", {"aux_heads": True}, 27_161_264),  # torchvision, aux_logits=True
    ],
)
def test_parameters(name: str, options: dict, params: int) -> None:
    with torch.device("meta"):
        model = create_model(name, **options)
    assert sum(p.numel() for p in model.parameters()) == params


def shapes(model: nn.Module, names: list[str], size: int) -> dict[str, tuple[int, ...]]:
    """Name of a module -> shape of its map."""
    found = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda _m, _x, out, name=name: found.__setitem__(name, tuple(out.shape[1:]))
        )
    model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return found


def test_maps_of_bn_inception_have_the_papers_sizes() -> None:
    with torch.device("meta"):
        model = create_model("bn_inception")
    sizes = shapes(model, ["stem", *(f"inception{name}" for name in BN_TABLE)], 224)
    assert {name.removeprefix("inception"): shape for name, shape in sizes.items()} == {
        "stem": (192, 28, 28), "3a": (256, 28, 28), "3b": (320, 28, 28),
        "3c": (576, 14, 14), "4a": (576, 14, 14), "4b": (576, 14, 14), "4c": (608, 14, 14), "4d": (608, 14, 14),
        "4e": (1056, 7, 7), "5a": (1024, 7, 7), "5b": (1024, 7, 7),
    }  # fmt: skip


def test_maps_of_inception_v3_have_the_papers_sizes() -> None:
    with torch.device("meta"):
        model = create_model("inception_v3")
    names = [f"stem.{i}" for i in range(7)] + ["mixed5.0", "mixed5.2", "mixed6.0", "mixed6.4", "mixed7.0", "mixed7.2"]
    assert list(shapes(model, names, 299).values()) == [
        (32, 149, 149), (32, 147, 147), (64, 147, 147), (64, 73, 73), (80, 73, 73), (192, 71, 71), (192, 35, 35),
        (256, 35, 35), (288, 35, 35), (768, 17, 17), (768, 17, 17), (1280, 8, 8), (2048, 8, 8),
    ]  # fmt: skip


def test_large_convolutions_are_factorised() -> None:
    with torch.device("meta"):
        model = create_model("inception_v3")
    kernels = [unit.conv.kernel_size for unit in model.mixed6[1].branches[2]]
    assert kernels == [(1, 1), (7, 1), (1, 7), (7, 1), (1, 7)]
    assert all(max(m.kernel_size) <= 5 or min(m.kernel_size) == 1 for m in model.modules() if isinstance(m, nn.Conv2d))
    assert all(m.eps == 1e-3 for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(m.eps == 1e-5 for m in create_model("bn_inception").modules() if isinstance(m, nn.BatchNorm2d))


def test_the_projection_may_stand_before_the_pool() -> None:
    """A 1x1 convolution without bias and an average commute, at the border too."""
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    for count_pad in (True, False):
        unit = PoolProj(6, 4, count_pad=count_pad).double()
        pool = nn.AvgPool2d(3, 1, 1, count_include_pad=count_pad)
        torch.testing.assert_close(unit(x), torch.relu(unit.norm(unit.conv(pool(x)))))


def test_inception_v2_is_bn_inception(tmp_path: Path) -> None:
    assert entry("inception_v2").alias_of == "bn_inception"
    assert card("inception_v2") is card("bn_inception")
    assert list_models("*inception*") == ["bn_inception", "inception_resnet_v2", "inception_v3", "inception_v4"]
    assert list_models("inception_v2") == []
    assert recipe_for("inception_v2", "digits").lr == card("bn_inception").recipe["lr"]
    model = create_model("inception_v2", num_classes=2)
    assert isinstance(model, BnInception)
    preprocess = Preprocess(size=(32, 32), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    save_model(tmp_path, model, arch="inception_v2", preprocess=preprocess, classes=("a", "b"))
    again, config = load_model(tmp_path)
    assert config.arch == "bn_inception"
    assert isinstance(again, BnInception)
    create_model("inception_v2", weights=tmp_path, num_classes=2)


def test_a_bias_before_the_norm_does_nothing() -> None:
    torch.manual_seed(0)
    plain = create_model("bn_inception", num_classes=3)
    biased = create_model("bn_inception", num_classes=3, conv_bias=True)
    missing, unexpected = biased.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert len(missing) == 69
    assert all(key.endswith("conv.bias") for key in missing)
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(biased.eval()(x), plain.eval()(x))  # they start at zero
    with torch.no_grad():
        for key in missing:
            biased.get_parameter(key).normal_()
    biased, plain = biased.double().train(), plain.double().train()  # norms of four values enlarge rounding
    torch.testing.assert_close(biased(x.double()), plain(x.double()), rtol=1e-6, atol=1e-6)


def test_weights_with_biases_need_the_switch() -> None:
    with torch.device("meta"):
        biased, plain = (create_model("bn_inception", conv_bias=bias) for bias in (True, False))
    with pytest.raises(WeightsError, match=r"nothing in bn_inception takes its stem\.0\.conv\.bias"):
        load_weights(plain, biased.state_dict(), arch="bn_inception")


@pytest.mark.parametrize("size", [7, 8, 33, 34, 47, 81])
def test_bn_inception_takes_any_size(size: int) -> None:
    """Odd maps too, where an unpadded pool would leave fewer rows than the padded convolutions beside it."""
    with torch.device("meta"):
        model = create_model("bn_inception").eval()
        assert model(torch.empty(1, 3, size, size + 3)).shape == (1, 1000)
    with pytest.raises(UsageError, match="too small for this network; it needs 7x7"):
        model(torch.empty(1, 3, 6, 40, device="meta"))


def test_the_auxiliary_head_speaks_only_in_training() -> None:
    model = create_model("inception_v3", num_classes=4, aux_heads=True)
    x = torch.randn(2, 3, 80, 80)
    result = model.train()(x)
    assert isinstance(result, WithAux)
    assert result.weight == 0.4
    assert [logits.shape for logits in (result.logits, *result.aux)] == [(2, 4)] * 2
    sum(logits.sum() for logits in (result.logits, *result.aux)).backward()
    assert model.aux_heads[0].conv.conv.weight.grad.any()
    assert isinstance(model.eval()(x), torch.Tensor)
    assert isinstance(create_model("inception_v3", num_classes=4).train()(x), torch.Tensor)


def test_the_auxiliary_head_pools_17x17_maps_in_windows_of_five() -> None:
    with torch.device("meta"):
        aux = create_model("inception_v3", aux_heads=True).aux_heads[0]
    seen = []
    aux.reduce.register_forward_pre_hook(lambda _m, x: seen.append(x[0]))
    aux = aux.to_empty(device="cpu").eval()
    x = torch.randn(1, 768, 17, 17)
    aux(x)
    torch.testing.assert_close(seen[0][..., 1, 2], x[..., 3:8, 6:11].mean(dim=(-1, -2)))
    aux(x[..., :3, :9])
    assert seen[1].shape == (1, 768, 5, 5)


def test_heads_come_and_go_together() -> None:
    model = create_model("inception_v3", num_classes=4, aux_heads=True)
    middle = model.aux_heads[0].conv.conv.weight
    model.reset_head(6)
    assert [head.out_features for head in (model.head, model.aux_heads[0].head)] == [6, 6]
    assert model.aux_heads[0].conv.conv.weight is middle
    model.reset_head(0)
    assert len(model.aux_heads) == 0
    with torch.no_grad():
        assert model.train()(torch.randn(2, 3, 80, 80)).shape == (2, 2048)
        model.reset_head(3)
        assert len(model.train()(torch.randn(2, 3, 80, 80)).aux) == 1


def test_weights_come_with_or_without_the_auxiliary_head() -> None:
    with torch.device("meta"):
        plain, full = (create_model("inception_v3", aux_heads=aux) for aux in (False, True))
    report = load_weights(plain, full.state_dict(), source="corinth")
    assert len(report.unexpected) == 14
    assert all(name.startswith("aux_heads.") for name in report.unexpected)
    assert report.unexpected == load_weights(full, plain.state_dict(), source="corinth").missing


def test_the_public_file_has_an_auxiliary_head() -> None:
    """torchvision's, for a model without one; and its inputs are in [-1, 1]."""
    with torch.device("meta"):
        plain, full = (create_model("inception_v3", aux_heads=aux) for aux in (False, True))
    public = dump_weights(full, source="torchvision")
    assert public["AuxLogits.conv1.bn.weight"].shape == (768,)
    assert public["Mixed_6b.branch7x7_2.conv.weight"].shape == (128, 128, 1, 7)
    report = load_weights(plain, public, arch="inception_v3")
    assert report.source == "torchvision"
    assert len(report.unexpected) == 14
    assert all(name.startswith("AuxLogits.") for name in report.unexpected)
    assert any("mean 0.5 and std 0.5" in note for note in report.notes)


def test_the_smallest_image_leaves_one_pixel() -> None:
    size = InceptionV3Config().min_size
    assert size == 75  # torchvision's min_size
    assert (last_side(size), last_side(size - 1)) == (1, 0)
    assert last_side(299) == 8


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = create_model("inception_v3", aux_heads=True)
    for layer, fan_in in (
        (model.mixed5[0].branches[1][1].conv, 48 * 25),
        (model.aux_heads[0].conv.conv, 128 * 25),
        (model.head, 2048),
    ):
        assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert not model.head.bias.any()
    assert not model.aux_heads[0].head.bias.any()
    unit = ConvUnit(3, 4, (1, 7), bias=True)
    assert unit.conv.padding == (0, 3)


@pytest.mark.parametrize(
    ("cfg", "option", "value"),
    [
        (BnInceptionConfig(), "conv_bias", "yes"),
        (BnInceptionConfig(), "drop_rate", 1.0),
        (BnInceptionConfig(), "in_chans", 0),
        (InceptionV3Config(), "aux_heads", 1),
        (InceptionV3Config(), "aux_weight", -1.0),
        (InceptionV3Config(), "num_classes", -1),
    ],
)
def test_bad_options(cfg: object, option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option} {value!r} is "):
        dataclasses.replace(cfg, **{option: value})  # ty: ignore[invalid-argument-type]
