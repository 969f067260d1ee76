"""What is particular to GoogLeNet: its two forms, its auxiliary heads, table 1's parameters."""

import dataclasses

import pytest
import torch
from torch import nn

from corinth import create_model
from corinth.errors import UsageError
from corinth.layers.auxiliary import WithAux
from corinth.models.convolutional.googlenet import TABLE, GoogLeNetConfig


@pytest.mark.parametrize(
    ("name", "options", "params"),
    [
        ("googlenet", {}, 13_378_280),  # BVLC's train_val.prototxt
        ("googlenet", {"aux_heads": False}, 6_998_552),  # BVLC's deploy.prototxt
        ("googlenet_bn", {}, 6_624_904),  # torchvision, aux_logits=False
        ("googlenet_bn", {"aux_heads": True}, 13_004_888),  # torchvision, aux_logits=True
        ("googlenet_bn", {"five_kernel": 5, "last_pool": 3}, 7_005_832),  # the paper's kernels with batch norm
    ],
)
def test_parameters(name: str, options: dict, params: int) -> None:
    with torch.device("meta"):
        model = create_model(name, **options)
    assert sum(p.numel() for p in model.parameters()) == params


def test_maps_have_the_papers_sizes() -> None:
    sizes = {}
    with torch.device("meta"):
        model = create_model("googlenet").eval()
        for name in TABLE:
            module = model.get_submodule(f"inception{name}")
            module.register_forward_hook(lambda _m, _x, out, name=name: sizes.__setitem__(name, tuple(out.shape[1:])))
        model(torch.empty(1, 3, 224, 224))
    assert sizes == {  # table 1's "output size"
        "3a": (256, 28, 28), "3b": (480, 28, 28),
        "4a": (512, 14, 14), "4b": (512, 14, 14), "4c": (512, 14, 14), "4d": (528, 14, 14), "4e": (832, 14, 14),
        "5a": (832, 7, 7), "5b": (1024, 7, 7),
    }  # fmt: skip


def test_auxiliary_heads_speak_only_in_training() -> None:
    model = create_model("googlenet", num_classes=4)
    x = torch.randn(2, 3, 48, 48)
    result = model.train()(x)
    assert isinstance(result, WithAux)
    assert result.weight == 0.3
    assert [logits.shape for logits in (result.logits, *result.aux)] == [(2, 4)] * 3
    assert isinstance(model.eval()(x), torch.Tensor)
    assert isinstance(create_model("googlenet", num_classes=4, aux_heads=False).train()(x), torch.Tensor)


def test_heads_come_and_go_together() -> None:
    model = create_model("googlenet", num_classes=4)
    middle = model.aux_heads[0].fc.weight
    model.reset_head(6)
    assert [head.out_features for head in (model.head, *(aux.head for aux in model.aux_heads))] == [6, 6, 6]
    assert model.aux_heads[0].fc.weight is middle
    model.reset_head(0)
    assert len(model.aux_heads) == 0
    features = model.train()(torch.randn(2, 3, 48, 48))
    assert features.shape == (2, 1024)
    model.reset_head(3)
    assert len(model.train()(torch.randn(2, 3, 48, 48)).aux) == 2


@pytest.mark.parametrize("size", [31, 40, 65])
def test_any_size_from_the_smallest_trains(size: int) -> None:
    model = create_model("googlenet", num_classes=3)
    assert model.cfg.min_size == 31
    result = model.train()(torch.randn(1, 3, size, size))
    sum(logits.sum() for logits in (result.logits, *result.aux)).backward()
    with pytest.raises(UsageError, match="too small for this network; it needs 31x31"):
        model(torch.randn(1, 3, 30, 40))


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = create_model("googlenet")
    assert all(bool((m.bias == 0.2).all()) for m in model.modules() if isinstance(m, nn.Conv2d))
    conv = model.conv2.conv.weight.detach()  # Caffe's "xavier": uniform within +-sqrt(3 / fan-in)
    assert float(conv.abs().max()) == pytest.approx((3 / (64 * 9)) ** 0.5, rel=1e-3)
    assert float(conv.std()) == pytest.approx((1 / (64 * 9)) ** 0.5, rel=0.02)
    assert bool((model.aux_heads[1].fc.bias == 0.2).all())
    for head in (model.head, *(aux.head for aux in model.aux_heads)):
        assert not head.bias.any()
    bn = create_model("googlenet_bn")
    assert float(bn.conv2.conv.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert all(m.eps == 1e-3 for m in bn.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("option", "value"),
    [("five_kernel", 7), ("last_pool", 4), ("aux_weight", -1.0), ("aux_drop_rate", 1.0), ("num_classes", -1)],
)
def test_bad_options(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{option} {value}"):
        dataclasses.replace(GoogLeNetConfig(), **{option: value})
