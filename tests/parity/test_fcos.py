"""FCOS against torchvision's, with every tensor randomised: outputs, gradients, targets and losses."""

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth import create_model, dump_weights, load_weights
from corinth.layers.points import PointOutputs
from corinth.registry import configure
from corinth.tasks.boxes import giou
from corinth.tasks.detection import Points, assign, focal_loss
from corinth.weights import key_maps
from random_tensors import randomise

pytestmark = pytest.mark.parity
CLASSES = 5
STRIDES = (8, 16, 32, 64, 128)
# torchvision's name of the backbone, its modules that end at strides 8, 16 and 32, their channels
RESNET = {"layer2": "0", "layer3": "1", "layer4": "2"}
BACKBONES = {
    "fcos_resnet18": ("resnet18", RESNET, (128, 256, 512)),
    "fcos_resnet50": ("resnet50", RESNET, (512, 1024, 2048)),
    "fcos_mobilenetv2_100": ("mobilenet_v2", {"6": "0", "13": "1", "17": "2"}, (32, 96, 320)),
}
CASES = (*((name, "exp") for name in BACKBONES), ("fcos_resnet18", "relu"))  # what is registered, torchvision's form


def build_peer(peers: SimpleNamespace, name: str) -> Any:
    """torchvision's FCOS on the backbone of ours, with as many channels."""
    importlib.import_module("torchvision.models.detection")
    fcos = importlib.import_module("torchvision.models.detection.fcos")
    utils = importlib.import_module("torchvision.models.detection.backbone_utils")
    pyramid = importlib.import_module("torchvision.ops.feature_pyramid_network")
    body, ends, widths = BACKBONES[name]
    channels = configure(name).channels
    with torch.device("meta"):  # what they start with is overwritten
        network = getattr(peers.torchvision, body)(weights=None)
        extra = pyramid.LastLevelP6P7(channels, channels)
        backbone = utils.BackboneWithFPN(getattr(network, "features", network), ends, list(widths), channels, extra)
        peer = fcos.FCOS(backbone, CLASSES)
    return randomise(peer.to_empty(device="cpu").double(), norm_scale=0.5).eval()


def names(ours: nn.Module, theirs: nn.Module, name: str) -> dict[str, str]:
    """Our tensors' names to those of torchvision, all but the scalars s_l, which it does not have."""
    body = BACKBONES[name][0]
    inner = "features." if body.startswith("mobilenet") else ""
    with torch.device("meta"):
        of_body = key_maps(create_model(configure(name).backbone))["torchvision"]
        of_rest = key_maps(create_model("fcos_resnet18", distance="relu"))["torchvision"]
    found = {}
    for key in theirs.state_dict():
        in_body = key.startswith("backbone.body.")
        target = of_body.to_ours(inner + key.removeprefix("backbone.body.")) if in_body else of_rest.to_ours(key)
        assert target is not None, key
        found[f"backbone.body.{target[0]}" if in_body else target[0]] = key
    assert found.keys() == ours.state_dict().keys() - {"head.scales"}
    assert set(found.values()) == set(theirs.state_dict())
    return found


@pytest.mark.parametrize("frozen", [False, True])
def test_names_and_shapes_at_full_size(peers: SimpleNamespace, frozen: bool) -> None:
    """With weights torchvision builds it with frozen norms, which have no step counters."""
    detection = importlib.import_module("torchvision.models.detection")
    norm = importlib.import_module("torchvision.ops.misc").FrozenBatchNorm2d if frozen else nn.BatchNorm2d
    with torch.device("meta"):
        theirs = detection.fcos_resnet50_fpn(weights=None, weights_backbone=None)
        freeze(theirs, norm)
        ours = create_model("fcos_resnet50", distance="relu", num_classes=91)
    state = theirs.state_dict()
    assert load_weights(ours, state, arch="fcos_resnet50").exact
    dumped = dump_weights(ours, source="torchvision")
    dumped = {name: tensor for name, tensor in dumped.items() if not (frozen and name.endswith("num_batches_tracked"))}
    assert {name: tensor.shape for name, tensor in dumped.items()} == {n: t.shape for n, t in state.items()}


def freeze(model: nn.Module, norm: Any) -> None:
    for owner in list(model.modules()):
        for name, layer in list(owner.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                setattr(owner, name, norm(layer.num_features))


def rows(levels: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


@pytest.mark.parametrize(("name", "distance"), CASES)
def test_outputs_and_gradients(name: str, distance: str, peers: SimpleNamespace) -> None:
    """Every tensor of ours is torchvision's; its regression, before the rectifier, goes through our scalars s_l."""
    theirs = build_peer(peers, name)
    with torch.device("meta"):
        ours = create_model(name, num_classes=CLASSES, **({} if distance == "exp" else {"distance": distance}))
    ours = ours.to_empty(device="cpu").double().eval()
    found, state = names(ours, theirs, name), theirs.state_dict()
    scales = torch.linspace(0.5, 1.5, len(STRIDES), dtype=torch.float64)
    ours.load_state_dict({key: state[peer] for key, peer in found.items()} | {"head.scales": scales})

    x = torch.randn(2, 3, 96, 72, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    raw: list[Tensor] = []
    theirs.head.regression_head.bbox_reg.register_forward_hook(lambda module, inputs, output: raw.append(output))
    want = theirs.head(list(theirs.backbone(x).values()))
    scales.requires_grad_()
    positive = {"exp": torch.exp, "relu": torch.relu}[distance]
    regressed = tuple(positive(scale * level) for scale, level in zip(scales, raw, strict=True))
    if distance == "relu":  # with scalars above zero the rectifier is theirs
        torch.testing.assert_close(rows(tuple(torch.relu(level) for level in raw)), want["bbox_regression"])
    got = ours(x)
    pairs = (
        (rows(got.logits), want["cls_logits"]),
        (rows(got.distances) / Points.of(got).strides[:, None], rows(regressed)),
        (rows(got.centreness), want["bbox_ctrness"]),
    )
    direction = [
        torch.randn(b.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) for _, b in pairs
    ]
    for a, b in pairs:
        assert b.detach().std() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8 * float(b.detach().abs().max()))
    for outputs in ([a for a, _ in pairs], [b for _, b in pairs]):
        sum((output * d).sum() for output, d in zip(outputs, direction)).backward()
    gradients = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    for key, parameter in ours.named_parameters():
        gradient = scales.grad if key == "head.scales" else gradients[found[key]]
        assert gradient is not None
        scale = float(gradient.abs().max())
        assert scale > 0
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-8 * scale)


def test_targets_and_losses(peers: SimpleNamespace) -> None:
    """torchvision does not weigh the overlap by centre-ness; the other two terms are the same."""
    theirs = build_peer(peers, "fcos_resnet18").float()
    draw = torch.Generator().manual_seed(3)
    sides = [-(-256 // stride) for stride in STRIDES]

    def maps(chans: int) -> tuple[Tensor, ...]:
        return tuple(torch.randn(2, chans, side, side, generator=draw) for side in sides)

    distances = tuple(level.exp() * stride for level, stride in zip(maps(4), STRIDES))
    output = PointOutputs(maps(CLASSES), distances, maps(1), STRIDES)
    points = Points.of(output)
    low = torch.rand(2, 9, 2, generator=draw) * 150
    high = (low + torch.rand(2, 9, 2, generator=draw) * 150 + 4).clamp(max=256)
    labels = torch.randint(0, CLASSES, (2, 9), generator=draw)
    half = points.strides[:, None] / 2
    anchors = torch.cat((points.centres - half, points.centres + half), dim=1)
    losses = theirs.compute_loss(
        [{"boxes": torch.cat(pair, dim=1), "labels": label} for *pair, label in zip(low, high, labels)],
        {
            "cls_logits": points.logits,
            "bbox_regression": points.distances / points.strides[:, None],
            "bbox_ctrness": points.centreness[..., None],
        },
        [anchors, anchors],
        [side**2 for side in sides],
    )
    assigned = assign(points, torch.cat((labels[..., None].float(), low, high), dim=2))
    positive = assigned.positive
    count = int(positive.sum())
    assert count > 20
    wanted = F.one_hot(assigned.labels + 1, CLASSES + 1)[..., 1:].float()
    zero = torch.zeros(2)
    overlap = giou(
        torch.cat((zero - points.distances[positive][:, :2], zero + points.distances[positive][:, 2:]), dim=1),
        torch.cat((zero - assigned.distances[positive][:, :2], zero + assigned.distances[positive][:, 2:]), dim=1),
    )
    centre = F.binary_cross_entropy_with_logits(
        points.centreness[positive], assigned.centreness[positive], reduction="sum"
    )
    torch.testing.assert_close(focal_loss(points.logits, wanted).sum() / count, losses["classification"])
    torch.testing.assert_close((1 - overlap).sum() / count, losses["bbox_regression"])
    torch.testing.assert_close(centre / count, losses["bbox_ctrness"])
