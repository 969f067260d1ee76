"""Backbones: the maps of every registered classifier, and networks made to be difficult."""

import copy
import dataclasses
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import corinth
from corinth.errors import UsageError
from corinth.layers.features import Features, find_maps
from corinth.registry import configure

NAMES = corinth.list_models(task="image-classification", family="convolutional")
LONG = re.compile(
    r"(tf_)?efficientnet_b[2-7]|densenet1[67].|densenet201|resnet1(01|10_cifar10|52)|inception_resnet_v2"
)  # the deepest
every_backbone = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if LONG.fullmatch(name) else []) for name in NAMES]
)
FAMOUS = {  # channels of the maps of stride 2, 4, 8, 16 and 32
    "resnet18": (64, 64, 128, 256, 512),
    "resnet50": (64, 256, 512, 1024, 2048),
    "densenet121": (64, 256, 512, 1024, 1024),
    "vgg16_bn": (128, 256, 512, 512, 512),
    "mobilenetv2_100": (16, 24, 32, 96, 320),
    "mobilenetv3_large_100": (16, 24, 40, 112, 960),
    "efficientnet_b0": (16, 24, 40, 112, 320),
    "mixnet_s": (16, 24, 40, 120, 200),
    "inception_v3": (64, 192, 288, 768, 2048),
    "inception_v4": (64, 192, 384, 1024, 1536),
}
ONE_OF_A_CLASS = (  # small ones
    *("alexnet", "cnn", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "lenet5", "lenet5_1998"),
    *("mixnet_s", "mobilenetv2_035", "mobilenetv3_small_050", "nin_cifar10", "resnet18", "vgg11"),
)


def sketch(name: str, **options: Any) -> Any:
    with torch.device("meta"):
        return corinth.create_model(name, **options)


def image(name: str, device: str = "meta", batch: int = 2) -> Tensor:
    """As small as it may be and odd, or of the one size that the network has."""
    cfg = configure(name)
    if hasattr(cfg, "img_size"):
        return torch.rand(batch, cfg.in_chans, cfg.img_size, cfg.img_size, device=device)
    return torch.rand(batch, cfg.in_chans, cfg.min_size + 3, cfg.min_size + 38, device=device)


@every_backbone
def test_maps_of_every_architecture(name: str) -> None:
    """Ascending strides, channels as promised, a gradient for every parameter, and nobody writes into a map."""
    strides = tuple(find_maps(sketch(name))[0])
    assert list(strides) == sorted(set(strides))
    assert len(strides) >= 3
    for wanted in (strides, strides[:-1], strides[:1]) if name in ONE_OF_A_CLASS else (strides,):
        model = sketch(name, features=wanted).train()
        assert model.strides == wanted
        assert model.cfg.num_classes == 0
        versions: list[tuple[Tensor, int]] = []

        def note(tap: Any, versions: list[tuple[Tensor, int]] = versions) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
                versions.extend((found, found._version) for found in tap.owner.found.values())

            return hook

        for module in list(model.modules()):
            for tap in list(module._forward_hooks.values()):
                module.register_forward_hook(note(tap))
        x = image(name)
        maps = model(x)
        assert tuple(found.shape[1] for found in maps) == model.channels
        for found, stride in zip(maps, wanted):
            for side, pixels in zip(found.shape[2:], x.shape[2:]):
                assert 0 < side <= -(-pixels // stride) + 1
        assert versions
        assert all(found._version == version for found, version in versions), "somebody wrote into a map"
        sum(found.sum() for found in maps).backward()
        without = [key for key, parameter in model.named_parameters() if parameter.grad is None]
        assert not without, f"features={wanted}: no gradient for {without}"


@pytest.mark.parametrize("name", FAMOUS)
def test_the_channels_that_people_know(name: str) -> None:
    model = sketch(name, features=(2, 4, 8, 16, 32))
    assert model.channels == FAMOUS[name]


@pytest.mark.parametrize("name", ["resnet50", "vgg11", "mobilenetv2_100", "efficientnet_b0", "resnet20_cifar10"])
def test_sizes_are_the_image_by_the_stride(name: str) -> None:
    strides = tuple(find_maps(sketch(name))[0])
    maps = sketch(name, features=strides)(torch.empty(1, 3, 128, 192, device="meta"))
    assert [found.shape[2:] for found in maps] == [(128 // stride, 192 // stride) for stride in strides]


SMALL = ("alexnet", "cnn", "googlenet", "lenet5_1998", "nin_cifar10", "mobilenetv3_small_050", "resnet18")


@pytest.mark.parametrize("name", SMALL)
def test_the_deepest_map_is_that_of_the_classifier(name: str) -> None:
    """With and without gradients: some activations work in place only where none is wanted."""
    torch.manual_seed(0)
    whole: Any = corinth.create_model(name).eval()
    strides = tuple(find_maps(whole)[0])
    backbone: Any = corinth.create_model(name, features=strides).eval()
    missing, _ = backbone.body.load_state_dict(whole.state_dict(), strict=False)
    assert not missing
    x = image(name, "cpu")
    with torch.no_grad():
        maps = backbone(x)
        if name not in ("alexnet", "lenet5_1998"):  # a pool follows, or a layer as large as its map
            assert torch.equal(maps[-1], whole.forward_features(x))
        if name.startswith("alexnet"):
            assert torch.equal(nn.functional.max_pool2d(maps[-1], 3, 2), whole.forward_features(x))
    for a, b in zip(maps, backbone(x)):
        torch.testing.assert_close(a, b)
    one: Any = corinth.create_model(name, features=strides[:1]).eval()
    one.body.load_state_dict(whole.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(one(x)[0], maps[0])


@pytest.mark.parametrize("name", ["resnet18", "lenet5", "mobilenetv3_small_050"])
def test_export(name: str) -> None:
    model: Any = corinth.create_model(name, features=tuple(find_maps(sketch(name))[0])[-3:]).eval()
    x = image(name, "cpu", batch=1)
    with torch.no_grad():
        program = torch.export.export(model, (x,))
        for got, want in zip(program.module()(x), model(x), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert not model.found


def test_compile_sees_no_break() -> None:
    model: Any = corinth.create_model("resnet18", features=(4, 8)).eval()
    x = torch.rand(1, 3, 32, 32)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for got, want in zip(compiled(x), model(x), strict=True):
        torch.testing.assert_close(got, want)
    torch._dynamo.reset()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])  # noqa: S301
def test_a_copy_keeps_maps_of_its_own(duplicate: Any) -> None:
    model: Any = corinth.create_model("nin_cifar10", features=(1, 2)).eval()
    twin = duplicate(model)
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(2)
        before = [found.clone() for found in model(x)]
        assert not torch.equal(twin(x)[0], before[0])
        assert all(torch.equal(a, b) for a, b in zip(model(x), before))


def test_a_pass_that_fails_leaves_no_maps() -> None:
    model: Any = corinth.create_model("resnet18", features=(4, 8))
    with pytest.raises(UsageError, match="too small"):
        model(torch.rand(1, 3, 4, 4))
    assert not model.found
    assert len(model(torch.rand(2, 3, 32, 32))) == 2


def test_weights_fill_the_whole_network_before_its_head_goes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = corinth.create_model("resnet20_cifar10")
    save_file(whole.state_dict(), tmp_path / "resnet20.safetensors")
    backbone: Any = corinth.create_model(
        "resnet20_cifar10", features=(1, 2, 4), weights=tmp_path / "resnet20.safetensors"
    )
    whole_state = whole.state_dict()
    assert all(torch.equal(value, whole_state[key]) for key, value in backbone.body.state_dict().items())
    assert len(backbone.body.state_dict()) == len(whole_state) - 2


def test_options_reach_the_backbone_and_no_draws_are_spent() -> None:
    torch.manual_seed(0)
    corinth.create_model("resnet18", in_chans=1)
    after = torch.rand(())
    torch.manual_seed(0)
    model: Any = corinth.create_model("resnet18", in_chans=1, features=(8,))
    assert torch.rand(()) == after
    assert model(torch.rand(1, 1, 64, 64))[0].shape == (1, 128, 8, 8)


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ((4, 64), "features (4, 64): there is no map of stride 64; ResNet has maps of strides 2, 4, 8, 16, 32"),
        ((), "features () names no stride; ResNet has maps of strides 2, 4, 8, 16, 32"),
        ((8, 4), "features (8, 4): name each stride once, from fine to coarse, as in (4, 8)"),
        ((8, 8), "features (8, 8): name each stride once, from fine to coarse, as in (8,)"),
    ],
)
def test_wrong_strides(features: tuple[int, ...], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        corinth.create_model("resnet18", features=features)
    assert str(raised.value) == says


def test_a_backbone_has_no_classes() -> None:
    with pytest.raises(UsageError, match="resnet18 with features has no classifier; leave num_classes out"):
        corinth.create_model("resnet18", features=(4,), num_classes=3)


@dataclass(frozen=True, kw_only=True)
class OddConfig:
    in_chans: int = 3
    num_classes: int = 2
    min_size: int = 9


class Odd(nn.Module):
    """Stride 3 and then stride 2; a gate that sees the whole image; a block whose first layer has the old stride."""

    def __init__(self, cfg: OddConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.gate = nn.Conv2d(4, 4, 1)
        self.first = nn.Conv2d(cfg.in_chans, 4, 3, stride=3)
        self.act = nn.ReLU()
        self.block = Block()
        self.unused = nn.Linear(2, 2)
        self.reset_head(cfg.num_classes)

    def reset_head(self, num_classes: int) -> None:
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = nn.Linear(6, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        x = x * self.gate(x.mean((2, 3), keepdim=True))
        return self.act(self.block(x))


class Block(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 6, 2, stride=2))


def test_strides_that_are_no_powers_of_two() -> None:
    model = Odd(OddConfig())
    places, order = find_maps(model)
    assert order == ["first", "act", "gate", "block", "act"]
    assert {stride: (place.name, place.call, place.channels) for stride, place in places.items()} == {
        3: ("act", 0, 4),
        6: ("act", 1, 6),
    }
    backbone = Features(model, (3, 6))
    assert [tuple(found.shape) for found in backbone(torch.rand(1, 3, 18, 24))] == [(1, 4, 6, 8), (1, 6, 3, 4)]
    assert isinstance(model.unused, nn.Identity)
    shallow = Features(Odd(OddConfig()), (3,))
    assert {key.split(".")[1] for key, _ in shallow.named_parameters()} == {"first"}


def test_a_network_without_maps() -> None:
    class Flat(Odd):
        def forward_features(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    with pytest.raises(UsageError, match="Flat has no maps of growing strides to give"):
        Features(Flat(OddConfig()), (4,))


def test_a_network_without_maps_is_no_backbone() -> None:
    with pytest.raises(UsageError, match=r"features \(4, 8\): MLP has no maps of growing strides to give"):
        corinth.create_model("mlp", features=(4, 8))


def test_one_stride_is_not_several() -> None:
    with pytest.raises(UsageError, match=r"features 8 is not several strides, as in \(4, 8, 16, 32\)"):
        corinth.create_model("resnet18", features=8)  # ty: ignore[invalid-argument-type]
