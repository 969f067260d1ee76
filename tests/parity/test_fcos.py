"""FCOS against torchvision's, with every tensor randomised: outputs, gradients, targets and losses."""

import importlib
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth import create_model
from corinth.layers.points import PointOutputs
from corinth.tasks.boxes import giou
from corinth.tasks.detection import Points, assign, focal_loss
from random_tensors import randomise

pytestmark = pytest.mark.parity
CLASSES = 5
STRIDES = (8, 16, 32, 64, 128)
RENAMES = (
    (r"^backbone\.body\.stem\.conv", "backbone.body.conv1"),
    (r"^backbone\.body\.stem\.norm", "backbone.body.bn1"),
    (r"^backbone\.body\.stages\.(\d)\.", lambda m: f"backbone.body.layer{int(m[1]) + 1}."),
    (r"^(backbone\.body\.layer.*)\.norm(\d)\.", r"\1.bn\2."),
    (r"\.shortcut\.conv\.", ".downsample.0."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"^fpn\.laterals\.(\d)", r"backbone.fpn.inner_blocks.\1.0"),
    (r"^fpn\.smooths\.(\d)", r"backbone.fpn.layer_blocks.\1.0"),
    (r"^fpn\.extras\.(\d)", lambda m: f"backbone.fpn.extra_blocks.p{int(m[1]) + 6}"),
    (r"^head\.class_tower", "head.classification_head.conv"),
    (r"^head\.classify", "head.classification_head.cls_logits"),
    (r"^head\.box_tower", "head.regression_head.conv"),
    (r"^head\.regress\b", "head.regression_head.bbox_reg"),
    (r"^head\.centre", "head.regression_head.bbox_ctrness"),
)


@pytest.fixture(scope="module")
def theirs(peers: SimpleNamespace) -> Any:
    importlib.import_module("torchvision.models.detection")
    fcos = importlib.import_module("torchvision.models.detection.fcos")
    utils = importlib.import_module("torchvision.models.detection.backbone_utils")
    extra = importlib.import_module("torchvision.ops.feature_pyramid_network").LastLevelP6P7(256, 256)
    resnet = peers.torchvision.resnet18(weights=None)
    body = utils._resnet_fpn_extractor(resnet, 5, returned_layers=[2, 3, 4], extra_blocks=extra)
    return fcos.FCOS(body, CLASSES).double().eval()


def renamed(key: str) -> str:
    for pattern, into in RENAMES:
        key = re.sub(pattern, into, key)
    return key


@pytest.fixture(scope="module")
def ours(theirs: Any) -> nn.Module:
    """With the same random tensors everywhere; its scalars s_l stay 1, which torchvision does not have."""
    model = create_model("fcos_resnet18", channels=256, num_classes=CLASSES, distance="relu").double().eval()
    randomise(theirs)
    state = theirs.state_dict()
    mine = {key: state[renamed(key)] for key in model.state_dict() if key != "head.scales"}
    assert {renamed(key) for key in mine} == set(state)
    missing, unexpected = model.load_state_dict(mine, strict=False)
    assert (missing, unexpected) == (["head.scales"], [])
    return model


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
    for key, parameter in ours.named_parameters():
        if key != "head.scales":
            gradient = peers[renamed(key)].grad
            scale = float(gradient.abs().max())
            assert scale > 0
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-8 * scale)


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
