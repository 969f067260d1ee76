"""Key maps are anchored, unambiguous and invertible, for every architecture and source there is."""

import pytest
import torch
from torch import nn

from corinth import create_model, dump_weights, list_models, load_weights
from corinth.errors import UsageError
from corinth.weights import key_maps
from corinth.weights.keymap import TRANSPOSE, KeyMap, Rule, flatten_kernel, renames

BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
LARGE = 30_000_000  # parameters; above, one of each kind is enough for the test of every bit
LARGE_SAMPLES = ("resnet50", "alexnet")


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(name)


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
