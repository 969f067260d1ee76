"""Parity with timm, torchvision and pytorchcv: every tensor randomised, outputs and gradients in double precision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corinth import create_model, dump_weights, load_weights
from corinth.layers.auxiliary import WithAux
from corinth.weights import Source, key_maps
from random_tensors import randomise

pytestmark = pytest.mark.parity
CLASSES = 10  # pytorchcv builds its CIFAR networks for 10 or 100 only
NARROW = 48  # of the fully connected layers, whose 4096 units would only cost time; full sizes are compared on meta


@dataclass(frozen=True)
class Case:
    """One architecture of ours, with the options that make it the peer's, and how to build the peer."""

    source: Source
    theirs: str
    ours: str
    options: Mapping[str, Any] = field(default_factory=dict)
    peer_options: Mapping[str, Any] = field(default_factory=dict)
    size: int = 40  # of the images; small, as convolutions in double precision are slow
    norm_scale: float = 1.0  # of random norm weights; at 1 the deepest networks blow rounding up to 1e-6 and more

    @property
    def is_registered_form(self) -> bool:
        """Whether the network compared computes what the registered one does: dropped paths are of training alone."""
        return not self.options.keys() - {"drop_path_rate"}

    def build_peer(self, peers: SimpleNamespace, num_classes: int) -> nn.Module:
        options = {"num_classes": num_classes, **self.peer_options}
        if self.source == "timm":
            return peers.timm.create_model(self.theirs, **options)
        if self.source == "pytorchcv":
            peer = peers.pytorchcv.get_model(self.theirs, **options)
            return without_biases(peer) if self.ours == "bn_inception" and "conv_bias" not in self.options else peer
        if self.theirs in ("googlenet", "inception_v3"):
            options["init_weights"] = False
        return getattr(peers.torchvision, self.theirs)(**options)

    def __str__(self) -> str:
        extra = "-aux" if self.options.get("aux_heads") else ""
        extra += "-memory_efficient" if self.options.get("memory_efficient") else ""
        extra += "-conv_bias" if self.options.get("conv_bias") else ""
        return f"{self.source}-{self.theirs}{extra}"


def without_biases(peer: nn.Module) -> nn.Module:
    """The network with convolutions as the paper has them: Caffe's bias before a batch norm does nothing."""
    for layer in peer.modules():
        if isinstance(layer, nn.Conv2d):
            layer.bias = None
    return peer


RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
IMAGENET_RESNETS = (*RESNETS, "resnet50_v1")
DENSENETS = ("densenet121", "densenet161", "densenet169", "densenet201")
EFFICIENTNETS = tuple(f"efficientnet_b{i}" for i in range(8))
NO_DROP_PATH = {"drop_path_rate": 0.0}
MIXNETS = ("mixnet_s", "mixnet_m", "mixnet_l", "mixnet_xl", "tf_mixnet_s", "tf_mixnet_m", "tf_mixnet_l")
MOBILENETS = (
    *(f"mobilenetv1_{width}" for width in (100, 125)),
    *(f"mobilenetv2_{width}" for width in ("035", "050", "075", "100", "140")),
    *(f"mobilenetv3_{size}" for size in ("small_050", "small_075", "small_100", "large_075", "large_100")),
    *(f"tf_mobilenetv3_{size}" for size in ("small_075", "small_100", "large_075", "large_100")),
)
LIKE_TORCHVISION = {"norm_eps": 1e-3, "norm_momentum": 0.01}  # of MobileNet V3
VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))
CASES = (
    Case("torchvision", "alexnet", "alexnet", size=80),
    *(Case("torchvision", name, name, size=32) for name in VGGS),
    *(Case("torchvision", name, name) for name in RESNETS),
    Case("torchvision", "googlenet", "googlenet_bn", {}, {"aux_logits": False}),
    Case("torchvision", "googlenet", "googlenet_bn", {"aux_heads": True}, size=96),
    *(Case("timm", name, name, size=32) for name in VGGS),
    *(Case("timm", name, name) for name in RESNETS),
    # last maps of four pixels: of one, norms over two values while training would make much of rounding
    *(Case(source, name, name, size=72) for source in ("torchvision", "timm") for name in DENSENETS),
    Case("timm", "densenet121", "densenet121", {"memory_efficient": True}, size=72),
    Case("torchvision", "inception_v3", "inception_v3", {}, {"aux_logits": False}, size=80),
    Case("torchvision", "inception_v3", "inception_v3", {"aux_heads": True}, size=299),  # the head takes no smaller
    Case("timm", "inception_v3", "inception_v3", size=80),
    *(Case("timm", name, name, size=128) for name in ("inception_v4", "inception_resnet_v2")),
    Case("pytorchcv", "bninception", "bn_inception", size=64),
    Case("pytorchcv", "bninception", "bn_inception", {"conv_bias": True}, size=64),
    *(
        Case("timm", name, name, NO_DROP_PATH, norm_scale=0.5)
        for plain in EFFICIENTNETS
        for name in (plain, f"tf_{plain}")
    ),
    *(
        Case("torchvision", name, name, {**NO_DROP_PATH, **options}, {"stochastic_depth_prob": 0.0}, norm_scale=0.5)
        for name, options in zip(EFFICIENTNETS, [{}] * 5 + [{"norm_eps": 1e-3, "norm_momentum": 0.01}] * 3)
    ),
    *(Case("timm", name, name) for name in MIXNETS),
    *(Case("timm", name, name) for name in MOBILENETS),
    Case("torchvision", "mobilenet_v2", "mobilenetv2_100"),
    Case("torchvision", "mobilenet_v3_small", "mobilenetv3_small_100", LIKE_TORCHVISION),
    Case("torchvision", "mobilenet_v3_large", "mobilenetv3_large_100", LIKE_TORCHVISION),
    Case("pytorchcv", "alexnet", "alexnet_2012", {"groups": (1,) * 5}, size=227),
    Case("pytorchcv", "nin_cifar10", "nin_cifar10", {"pool_padding": 1}, size=32),
    Case("pytorchcv", "resnet18", "resnet18"),
    Case("pytorchcv", "resnet50", "resnet50_v1"),
    Case("pytorchcv", "resnet50b", "resnet50"),
    *(
        Case("pytorchcv", name, name, {"shortcut": "B"}, size=32)
        for name in ("resnet20_cifar10", "resnet56_cifar10", "resnet110_cifar10")
    ),
)
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def narrow(peer: nn.Module) -> None:
    """Replace the wide fully connected layers of AlexNet and VGG, whatever they are called."""
    for owner in list(peer.modules()):
        for name, layer in list(owner.named_children()):
            wide_in = 4096 in (getattr(layer, "in_features", 0), getattr(layer, "in_channels", 0))
            wide_out = 4096 in (getattr(layer, "out_features", 0), getattr(layer, "out_channels", 0))
            if not (wide_in or wide_out):
                continue
            if isinstance(layer, nn.Linear):
                new: nn.Module = nn.Linear(
                    NARROW if wide_in else layer.in_features, NARROW if wide_out else layer.out_features
                )
            elif isinstance(layer, nn.Conv2d):
                new = nn.Conv2d(
                    NARROW if wide_in else layer.in_channels,
                    NARROW if wide_out else layer.out_channels,
                    layer.kernel_size,
                )
            else:
                continue
            setattr(owner, name, new)


def still(model: nn.Module) -> nn.Module:
    """The model in double precision and without its dropout."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.double()


@pytest.fixture
def pair(case: Case, peers: SimpleNamespace) -> tuple[nn.Module, nn.Module]:
    """The peer with random tensors, and ours with the peer's weights."""
    with torch.device("meta"):  # their initialisation takes longer than the comparison, and is overwritten
        peer = case.build_peer(peers, CLASSES)
        narrow(peer)
    if case.source == "pytorchcv" and case.ours in (*IMAGENET_RESNETS, "bn_inception"):
        peer.features.final_pool = nn.AdaptiveAvgPool2d(1)  # theirs is made for 224 pixels
    randomise(still(peer.to_empty(device="cpu")), case.norm_scale)
    options = dict(case.options)
    if case.ours.startswith(("alexnet", "vgg")):
        options["fc_dim"] = NARROW
    with torch.device("meta"):
        ours = create_model(case.ours, num_classes=CLASSES, **options)
    still(ours.to_empty(device="cpu"))
    if str(case) == "pytorchcv-alexnet":
        ours.norm.alpha = 1e-4  # pytorchcv takes torch's default: the paper's alpha divided by the window
    report = load_weights(ours, peer.state_dict(), source=case.source, arch=case.ours)
    assert not report.missing
    assert not report.unexpected
    assert len(report.loaded) == len(ours.state_dict()) == len(peer.state_dict())
    return peer, ours


def images(case: Case) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, case.size, case.size, generator=draw, dtype=torch.float64)


def outputs(result: Any) -> tuple[Tensor, ...]:
    """Logits, then those of the auxiliary heads from the first to the last."""
    if isinstance(result, WithAux):
        return result.logits, *result.aux
    if hasattr(result, "aux_logits"):  # torchvision's InceptionOutputs
        return tuple(result)
    if isinstance(result, tuple):  # torchvision's GoogLeNetOutputs has the second auxiliary head before the first
        return result.logits, result.aux_logits1, result.aux_logits2
    return (result,)


def assert_same(ours: Tensor, theirs: Tensor, scale: float, what: str) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9 * scale, msg=lambda text: f"{what}: {text}")


@every_case
def test_outputs_and_gradients(case: Case, pair: tuple[nn.Module, nn.Module]) -> None:
    peer, ours = pair
    x = images(case)
    with torch.no_grad():
        want, got = peer.eval()(x), ours.eval()(x)
    assert want.std() > 1e-3, "the random weights let no signal through: the comparison would prove nothing"
    assert_same(got, want, float(want.abs().max()), "logits")

    results = [outputs(model.train()(x)) for model in (peer, ours)]
    draw = torch.Generator().manual_seed(2)
    for index, pairs in enumerate(zip(*results, strict=True)):
        assert_same(pairs[1], pairs[0], float(pairs[0].detach().abs().max()), f"output {index} in training")
        direction = torch.randn(pairs[0].shape, generator=draw, dtype=torch.float64)
        for output in pairs:
            (output * direction).sum().backward(retain_graph=index + 1 < len(results[0]))

    keys = key_maps(ours)[case.source]
    own = dict(ours.named_parameters())
    gradients = {name: parameter.grad for name, parameter in peer.named_parameters()}
    scale = max(float(gradient.abs().max()) for gradient in gradients.values() if gradient is not None)
    for theirs, gradient in gradients.items():
        target = keys.to_ours(theirs)
        assert target is not None
        assert gradient is not None
        name, op = target
        assert_same(own.pop(name).grad, op.apply(gradient), scale, f"gradient of {name}")
    assert not own, "parameters that the peer has not"
    buffers = dict(ours.named_buffers())
    for theirs, buffer in peer.named_buffers():
        target = keys.to_ours(theirs)
        assert target is not None
        assert_same(buffers.pop(target[0]), buffer, 1.0, f"{target[0]} after a training step")
    assert not buffers, "buffers that the peer has not"


@every_case
def test_names_and_shapes_at_full_size(case: Case, peers: SimpleNamespace) -> None:
    with torch.device("meta"):
        peer = case.build_peer(peers, 1000 if "cifar10" not in case.ours else 10)
        ours = create_model(case.ours, **case.options)
    theirs = peer.state_dict()
    load_weights(ours, theirs, source=case.source, arch=case.ours)
    dumped = dump_weights(ours, source=case.source)
    assert {name: tensor.shape for name, tensor in dumped.items()} == {n: t.shape for n, t in theirs.items()}
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())


@every_case
def test_the_layout_is_recognised(case: Case, peers: SimpleNamespace) -> None:
    with torch.device("meta"):
        peer = case.build_peer(peers, CLASSES)
        ours = create_model(case.ours, num_classes=CLASSES, **case.options)
    report = load_weights(ours, peer.state_dict(), arch=case.ours)
    # the two agree on ResNets, DenseNets and Inception-v3
    same = {"timm": "torchvision"} if case.ours.startswith(("resnet", "densenet", "inception_v3")) else {}
    assert report.source == same.get(case.source, case.source)


def test_googlenet_of_the_public_file_has_no_aux_heads(peers: SimpleNamespace) -> None:
    """torchvision ships auxiliary heads in its file that were never trained: they may be left out, or be absent."""
    peer = peers.torchvision.googlenet(num_classes=CLASSES, init_weights=False)
    report = load_weights(create_model("googlenet_bn", num_classes=CLASSES), peer.state_dict())
    assert len(report.unexpected) == 20
    assert all(name.startswith("aux") for name in report.unexpected)
    without = peers.torchvision.googlenet(num_classes=CLASSES, aux_logits=False, init_weights=False)
    report = load_weights(create_model("googlenet_bn", num_classes=CLASSES, aux_heads=True), without.state_dict())
    assert len(report.missing) == 20
    assert all(name.startswith("aux_heads.") for name in report.missing)
    assert any("mean 0.5" in note for note in report.notes)


def test_adapting_the_input_agrees_with_timm(peers: SimpleNamespace) -> None:
    adapt = peers.timm.models.adapt_input_conv
    from corinth.weights.adapting import adapt_input

    weight = torch.randn(8, 3, 7, 7)
    for chans in (1, 2, 4, 5, 9):
        torch.testing.assert_close(adapt_input(weight, chans), adapt(chans, weight))


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
@pytest.mark.parametrize("chans", [1, 4])
def test_another_input_and_head_as_timm_loads_them(
    peers: SimpleNamespace, tmp_path: Path, name: str, chans: int
) -> None:
    """Whole networks, from one file: ours gets the fresh head that timm drew, as nothing else may differ."""
    peer = peers.timm.create_model(name)
    randomise(peer)
    torch.save(peer.state_dict(), tmp_path / "weights.pth")
    given = {"in_chans": chans, "num_classes": 7}
    theirs = peers.timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"file": str(tmp_path / "weights.pth")}, **given
    )
    ours = create_model(name, **given)
    report = load_weights(ours, tmp_path / "weights.pth", source="timm", arch=name)
    assert report.missing == ("head.weight", "head.bias")
    assert report.reshaped["stem.conv.weight"] == f"3 input channels adapted to {chans}"
    ours.get_submodule("head").load_state_dict(theirs.get_classifier().state_dict())
    x = torch.randn(2, chans, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        want, got = theirs.double().eval()(x), ours.double().eval()(x)
    assert want.std() > 1e-3
    assert_same(got, want, float(want.abs().max()), "logits")
