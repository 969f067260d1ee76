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
from corinth.tasks.boxes import giou
from corinth.tasks.detection import Points, assign, focal_loss
from corinth.weights import key_maps
from random_tensors import randomise

pytestmark = pytest.mark.parity
CLASSES = 5
STRIDES = (8, 16, 32, 64, 128)


@pytest.fixture(scope="module")
def theirs(peers: SimpleNamespace) -> Any:
    importlib.import_module("torchvision.models.detection")
    fcos = importlib.import_module("torchvision.models.detection.fcos")
    utils = importlib.import_module("torchvision.models.detection.backbone_utils")
    extra = importlib.import_module("torchvision.ops.feature_pyramid_network").LastLevelP6P7(256, 256)
    resnet = peers.torchvision.resnet18(weights=None)
    body = utils._resnet_fpn_extractor(resnet, 5, returned_layers=[2, 3, 4], extra_blocks=extra)
    return fcos.FCOS(body, CLASSES).double().eval()


@pytest.fixture(scope="module")
def ours(theirs: Any) -> nn.Module:
    """With the same random tensors everywhere; its scalars s_l become 1, as torchvision has none."""
    model = create_model("fcos_resnet18", channels=256, num_classes=CLASSES, distance="relu").double().eval()
    randomise(theirs)
    randomise(model)
    report = load_weights(model, theirs.state_dict(), arch="fcos_resnet18")
    assert (report.source, report.exact) == ("torchvision", True)
    assert "no head.scales: set to 1" in report.notes[-1]
    return model


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


def answers(theirs: Any, x: Tensor) -> dict[str, Tensor]:
    return theirs.head(list(theirs.backbone(x).values()))


def rows(levels: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def test_outputs_and_gradients(ours: nn.Module, theirs: Any) -> None:
    x = torch.randn(2, 3, 96, 72, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got, want = ours(x), answers(theirs, x)
    strides = Points.of(got).strides[:, None]
    pairs = (
        (rows(got.logits), want["cls_logits"]),
        (rows(got.distances) / strides, want["bbox_regression"]),
        (rows(got.centreness), want["bbox_ctrness"]),
    )
    direction = [
        torch.randn(b.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) for _, b in pairs
    ]
    for a, b in pairs:
        assert b.detach().std() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8 * float(b.detach().abs().max()))
    for model, outputs in ((ours, [a for a, _ in pairs]), (theirs, [b for _, b in pairs])):
        model.zero_grad()
        sum((output * d).sum() for output, d in zip(outputs, direction)).backward()
    peers = dict(theirs.named_parameters())
    keys = key_maps(ours)["torchvision"]
    for key, parameter in ours.named_parameters():
        if (target := keys.to_theirs(key)) is not None:
            gradient = peers.pop(target[0]).grad
            scale = float(gradient.abs().max())
            assert scale > 0
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-8 * scale)
    assert not peers


def test_targets_and_losses(theirs: Any) -> None:
    """torchvision does not weigh the overlap by centre-ness; the other two terms are the same."""
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
