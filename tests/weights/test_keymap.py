"""Key maps are anchored, unambiguous and invertible, for every architecture and source there is."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corinth import create_model, dump_weights, list_models, load_weights
from corinth.errors import UsageError, WeightsError
from corinth.weights import key_maps
from corinth.weights.keymap import TRANSPOSE, KeyMap, Rule, flatten_kernel, renames

BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
LARGE = 30_000_000  # parameters; above, one of each kind is enough for the test of every bit
LARGE_SAMPLES = ("resnet50", "alexnet", "inception_v4", "inception_resnet_v2")


FCOS = {"distance": "relu", "channels": 32, "norm_groups": 8, "num_classes": 3}  # as torchvision builds it, but small


def on_meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, **options)


def pairs() -> list[tuple[str, str]]:
    return [(name, source) for name in list_models() for source in key_maps(on_meta(name))]


@pytest.mark.parametrize(("name", "source"), pairs())
def test_names_translate_there_and_back(name: str, source: str) -> None:
    keys = key_maps(on_meta(name))[source]
    state = on_meta(name).state_dict()
    theirs = {}
    for ours in state:
        target = keys.to_theirs(ours)
        if target is None:
            assert keys.is_optional(ours) or (ours.endswith("num_batches_tracked") and not keys.counters)
            continue
        theirs[ours] = target[0]
        assert keys.to_ours(target[0]) == (ours, target[1])
    assert len(set(theirs.values())) == len(theirs), "two of our tensors would share a name"


@pytest.mark.parametrize(("name", "source"), pairs())
def test_round_trip_keeps_every_bit(name: str, source: str) -> None:
    size = sum(p.numel() for p in on_meta(name).parameters())
    if size > LARGE and name not in LARGE_SAMPLES:
        pytest.skip("large; its names are tested above, its kind of tensors by a smaller sibling")
    model, copy = (on_meta(name).to_empty(device="cpu") for _ in range(2))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                # any bits at all, NaNs among them: nothing may be computed on the way
                tensor.view(BITS[tensor.dtype]).random_(generator=draw)
            else:
                tensor.random_(100, generator=draw)
    dumped = dump_weights(model, source=source)
    report = load_weights(copy, dumped, source=source, arch=name)
    keys = key_maps(model)[source]
    without = [key for key in model.state_dict() if keys.is_optional(key) and keys.to_theirs(key) is None]
    assert (report.missing, report.unexpected) == (tuple(without), ())
    for (key, one), other in zip(model.state_dict().items(), copy.state_dict().values(), strict=True):
        if key in without or (key.endswith("num_batches_tracked") and not keys.counters):
            continue
        same = one.view(BITS[one.dtype]) == other.view(BITS[one.dtype]) if one.is_floating_point() else one == other
        assert same.all(), key


def test_every_architecture_has_the_sources_it_should() -> None:
    have = {name: set(key_maps(on_meta(name))) - {"corinth"} for name in list_models()}
    assert have["resnet50"] == {"torchvision", "timm", "pytorchcv"}
    assert have["resnet50_v1"] == {"pytorchcv"}
    assert have["resnet20_cifar10"] == {"plain"}
    assert have["lenet5"] == {"plain"}
    assert have["googlenet_bn"] == have["alexnet"] - {"pytorchcv"} == {"torchvision"}
    assert have["vgg16_bn"] == {"torchvision", "timm"}
    assert have["lstm"] == have["bigru"] == {"torch"}
    assert have["lstm_peephole"] == have["lstm_layernorm"] == set()
    assert have["googlenet"] == have["lenet5_1998"] == have["alexnet_2012"] == set()


@pytest.fixture
def fcos() -> nn.Module:
    torch.manual_seed(0)
    model = create_model("fcos_resnet18", **FCOS)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name != "head.scales":
                tensor.random_(100) if name.endswith("tracked") else tensor.normal_()
    return model


def test_torchvisions_fcos_there_and_back(fcos: nn.Module) -> None:
    dumped = dump_weights(fcos, source="torchvision")
    assert {"backbone.body.layer2.0.downsample.1.running_mean", "backbone.fpn.inner_blocks.0.0.weight",
            "backbone.fpn.extra_blocks.p7.bias", "head.classification_head.conv.9.weight",
            "head.regression_head.bbox_ctrness.bias"} < set(dumped)  # fmt: skip
    keys = key_maps(fcos)["torchvision"]
    assert len(dumped) == len(fcos.state_dict()) - 1
    assert {keys.to_ours(name)[0] for name in dumped} == set(fcos.state_dict()) - {"head.scales"}  # ty: ignore
    copy = create_model("fcos_resnet18", **FCOS)
    report = load_weights(copy, dumped, arch="fcos_resnet18")
    assert report.source == "torchvision"
    assert report.exact
    assert all(torch.equal(a, b) for a, b in zip(fcos.state_dict().values(), copy.state_dict().values(), strict=True))


def test_what_torchvisions_fcos_lacks_is_neutral_and_said(fcos: nn.Module) -> None:
    """Frozen norms have no step counters; older files name the pyramid otherwise; the public one has 91 classes."""
    older: dict[str, Tensor] = {
        name.replace(".0.weight", ".weight").replace(".0.bias", ".bias") if "_blocks" in name else name: tensor
        for name, tensor in dump_weights(fcos, source="torchvision").items()
        if not name.endswith("num_batches_tracked")
    }
    assert "backbone.fpn.inner_blocks.0.weight" in older
    other = create_model("fcos_resnet18", **{**FCOS, "num_classes": 5})
    with torch.no_grad():
        other.head.scales.fill_(2)  # of a training before
    report = load_weights(other, older, arch="fcos_resnet18")
    assert torch.equal(other.head.scales, torch.ones(5))
    assert torch.equal(other.fpn.laterals[2].weight, fcos.fpn.laterals[2].weight)
    assert report.missing == ("head.classify.weight", "head.classify.bias")
    assert "the checkpoint's library has no head.scales: set to 1, which changes nothing" in report.notes
    assert any("no step counters" in note for note in report.notes)


def test_what_torchvisions_fcos_cannot_hold(fcos: nn.Module) -> None:
    state = dump_weights(fcos, source="torchvision")
    with torch.no_grad():
        fcos.head.scales[1] = 2
    with pytest.raises(UsageError, match=r"'torchvision' has no place for head\.scales, unless they are 1"):
        dump_weights(fcos, source="torchvision")
    for options in ({"distance": "exp"}, {"backbone": "mobilenetv2_100"}):
        assert set(key_maps(on_meta("fcos_resnet18", **{**FCOS, **options}))) == {"corinth"}
    model = on_meta("fcos_resnet18")
    with pytest.raises(UsageError, match=r"it has corinth, and with distance='relu' it has torchvision$"):
        load_weights(model, state, source="torchvision", arch="fcos_resnet18")
    state = dump_weights(on_meta("fcos_resnet50", distance="relu", num_classes=91), source="torchvision")
    with pytest.raises(WeightsError, match=r"these are the tensors of fcos_resnet50 with distance='relu'$"):
        load_weights(on_meta("fcos_resnet50"), state, arch="fcos_resnet50")


def test_a_source_without_a_layout_is_named_with_those_that_have_one() -> None:
    model = create_model("resnet20_cifar10")
    with pytest.raises(UsageError, match=r"resnet20_cifar10 .*no weights layout 'timm'; it has corinth, plain"):
        load_weights(model, model.state_dict(), source="timm", arch="resnet20_cifar10")
    with pytest.raises(UsageError, match="no weights layout 'torchvision'"):
        dump_weights(model, source="torchvision")
    with pytest.raises(UsageError, match="source 'caffe' is none of auto, corinth, torchvision"):
        load_weights(model, model.state_dict(), source="caffe")


def test_rules_are_anchored() -> None:
    keys = KeyMap(renames([("layer1.{}.conv1", "stages.0.{}.conv1")]))
    assert keys.to_ours("layer1.2.conv1.weight") is not None
    for name in ("xlayer1.2.conv1.weight", "layer1.2.conv1.weight.more", "layer1.2.3.conv1.weight", "layer1.2xconv1.w"):
        assert keys.to_ours(name) is None, name


def test_a_rule_needs_the_same_wildcards_on_both_sides() -> None:
    with pytest.raises(ValueError, match="same number"):
        Rule("a.{}.{}", "b.{}")


def test_two_rules_for_one_name_are_a_mistake_of_the_map() -> None:
    keys = KeyMap((Rule("a.{}", "b.{}"), Rule("{}.c", "d.{}")))
    with pytest.raises(ValueError, match="several rules"):
        keys.to_ours("a.c")


@pytest.mark.parametrize(
    ("op", "shape", "result"),
    [
        (TRANSPOSE, (3, 5), (5, 3)),
        (flatten_kernel(7), (8, 4, 7, 7), (8, 196)),
        (flatten_kernel(1), (8, 4, 1, 1), (8, 4)),
    ],
)
def test_operations_undo_themselves(op, shape, result) -> None:
    tensor = torch.randn(shape)
    assert op.apply(tensor).shape == result
    assert torch.equal(op.undo(op.apply(tensor)), tensor)
