"""Object detection by points: which point answers for which box, the losses, and from outputs to boxes.

Tian et al. 2019 (arXiv:1904.01355, FCOS). Of a box the points near its centre on the levels of its size are positive
samples; a point in several boxes answers for the smallest. The loss is equation 2: the focal loss of every point, and
of the positive ones the overlap of boxes and the centre-ness, all divided by the number of positive points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection

from corinth.layers.points import PointOutputs, grid_points
from corinth.tasks.average_precision import BoxPrecision, library
from corinth.tasks.boxes import giou, suppress
from corinth.tasks.means import CountedMean
from corinth.tasks.task import Phase, Task, Term, weights_of_classes

REACH = (64.0, 128.0, 256.0, 512.0)  # m_3 to m_6: the furthest side that a point of P3 to P6 regresses, in pixels
RADIUS = 1.5  # strides from a box's centre within which points are positive
ALPHA, GAMMA = 0.25, 2.0  # of the focal loss, Lin et al. 2017 (arXiv:1708.02002)


@dataclass(frozen=True)
class Decoding:
    """From scores to detections; the defaults are the paper's and its code's."""

    min_score: float = 0.05  # probability of the class below which a point is no candidate
    candidates: int = 1000  # of a level, before suppression
    overlap: float = 0.6  # above which the weaker box of a class goes
    most: int = 100  # detections of an image


@dataclass(frozen=True)
class BoxPredictions:
    """For each image float32 (n, 6): label, score, x1, y1, x2, y2 in input pixels, best score first."""

    found: tuple[Tensor, ...]


@dataclass(frozen=True)
class Assigned:
    """What each of P points of B images is to say."""

    labels: Tensor  # int64 (B, P), -1: background
    distances: Tensor  # (B, P, 4), to the left, top, right and lower side in pixels; 0 in the background

    @property
    def positive(self) -> Tensor:
        return self.labels >= 0

    @property
    def centreness(self) -> Tensor:
        """Equation 3, (B, P), of the positive points; 0 in the background."""
        left, top, right, bottom = self.distances.unbind(-1)
        x = torch.minimum(left, right) / torch.maximum(left, right)
        y = torch.minimum(top, bottom) / torch.maximum(top, bottom)
        return torch.where(self.positive, (x * y).clamp(min=0).sqrt(), 0.0)


@dataclass(frozen=True)
class Points:
    """All points of an output, level after level: where they are and what they said."""

    centres: Tensor  # (P, 2): x, y in input pixels
    strides: Tensor  # (P,)
    levels: Tensor  # int64 (P,)
    logits: Tensor  # (B, P, K)
    distances: Tensor  # (B, P, 4)
    centreness: Tensor  # (B, P), logits

    @classmethod
    def of(cls, output: PointOutputs) -> "Points":
        def rows(maps: Sequence[Tensor]) -> Tensor:  # (B, C, H_l, W_l) each to (B, P, C)
            return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1).float()

        like = output.distances[0].float()
        centres, strides, levels = [], [], []
        for number, (level, stride) in enumerate(zip(output.logits, output.strides, strict=True)):
            height, width = level.shape[-2:]
            centres.append(grid_points(height, width, stride, like))
            strides.append(like.new_full((height * width,), stride))
            levels.append(torch.full((height * width,), number, device=like.device))
        return cls(
            centres=torch.cat(centres),
            strides=torch.cat(strides),
            levels=torch.cat(levels),
            logits=rows(output.logits),
            distances=rows(output.distances),
            centreness=rows(output.centreness)[..., 0],
        )

    def boxes(self) -> Tensor:
        """(B, P, 4): x1, y1, x2, y2."""
        return corners(self.centres, self.distances)


class ObjectDetection(Task):
    """One network that gives `PointOutputs`, one phase.

    `batch.inputs` (B, C, H, W) float; `batch.targets` (B, M, 5) float: label, x1, y1, x2, y2 in input pixels, filled
    up with rows of label -1. `class_weights`, one a class, weigh the focal loss of the class's output.
    """

    name = "object-detection"

    def __init__(
        self,
        model: nn.Module,
        classes: Sequence[str],
        *,
        class_weights: Sequence[float] | Tensor | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        library()  # a training is useless without its metric: say so before it begins
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.classes = tuple(classes)
        self.decoding = decoding or Decoding()
        self.class_weights = weights_of_classes(class_weights, classes)

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`classification`, `box` and `centreness`; `loss`, their sum, watched only.

        Each is a sum over points divided by the number of positive ones, which is the count of all three: parts of a
        batch, and processes, are put together in proportion to it, which gives the sums over the whole batch divided
        by its positive points. A part without any counts as one, and has classification to learn only.
        """
        return self._losses(self.nets["model"](batch.inputs), batch.targets)

    def _losses(self, output: PointOutputs, targets: Tensor) -> dict[str, Term]:
        points = Points.of(output)
        with torch.no_grad():
            assigned = assign(points, targets.to(points.centres))
            positive, centreness = assigned.positive, assigned.centreness
            count = max(1, int(positive.sum()))
        wanted = F.one_hot(assigned.labels + 1, points.logits.shape[-1] + 1)[..., 1:].float()
        focal = focal_loss(points.logits, wanted)
        if self.class_weights is not None:
            focal = focal * self.class_weights.to(focal.device)
        origin = points.centres.new_zeros(2)  # the overlap of two boxes does not depend on where their point is
        overlap = giou(corners(origin, points.distances[positive]), corners(origin, assigned.distances[positive]))
        values = {
            "classification": focal.sum(),
            "box": ((1 - overlap) * centreness[positive]).sum(),
            "centreness": F.binary_cross_entropy_with_logits(
                points.centreness[positive], centreness[positive], reduction="sum"
            ),
        }
        terms = {name: Term(value / count, count=count) for name, value in values.items()}
        total = sum(term.value.detach() for term in terms.values())
        return terms | {"loss": Term(torch.as_tensor(total), weight=0.0, count=count)}

    def metrics(self) -> MetricCollection:
        """`loss`, as in training; `map` (COCO's, over overlaps 0.50 to 0.95), `map50` and `map75`, in [0, 1]."""
        return MetricCollection(
            {"loss": CountedMean(), "precision": BoxPrecision(len(self.classes))}, compute_groups=False
        )

    def predict(self, batch: Any) -> BoxPredictions:
        output = self.nets["model"](batch.inputs)
        return BoxPredictions(decode(output, batch.inputs.shape[-2:], self.decoding))

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        """One box in the middle of each image."""
        height, width = shape
        box = torch.tensor((0.0, width / 4, height / 4, width * 3 / 4, height * 3 / 4)).repeat(size, 1, 1)
        box[:, 0, 0] = torch.arange(size) % len(self.classes)
        return box

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        output = self.nets["model"](batch.inputs)
        loss = self._losses(output, batch.targets)["loss"]
        metrics["loss"].update(loss.value, loss.count)
        found = decode(output, batch.inputs.shape[-2:], self.decoding)
        metrics["precision"].update(found, batch.targets, batch.index)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """By mAP; then, while nothing is found yet, by loss."""
        return metrics["map"], -metrics["loss"]


def assign(points: Points, targets: Tensor) -> Assigned:
    """Boxes (B, M, 5) to the points that answer for them.

    A point is positive for a box that it lies in, if it is less than 1.5 strides from the box's centre in both
    directions (centre sampling, of the paper's later versions) and the furthest side of the box is within the reach of
    the point's level (section 3.2). Of several boxes the smallest counts.
    """
    reach = points.strides.new_tensor((0.0, *REACH, torch.inf))
    low, high = reach[points.levels][:, None], reach[points.levels + 1][:, None]
    x, y = points.centres.T[:, :, None]
    near = RADIUS * points.strides[:, None]
    labels, distances = [], []
    for boxes in targets:  # one by one: points x boxes x 4 numbers are many
        if not len(boxes):
            boxes = targets.new_full((1, 5), -1.0)
        label, x1, y1, x2, y2 = boxes.T[:, None]
        sides = torch.stack((x - x1, y - y1, x2 - x, y2 - y), dim=-1)  # (P, M, 4)
        furthest = sides.amax(dim=-1)
        inside = (sides.amin(dim=-1) > 0) & ((x - (x1 + x2) / 2).abs() < near) & ((y - (y1 + y2) / 2).abs() < near)
        inside &= (furthest >= low) & (furthest <= high) & (label >= 0)
        area = torch.where(inside, (x2 - x1) * (y2 - y1), torch.inf)
        smallest, which = area.min(dim=1)
        positive = smallest < torch.inf
        labels.append(torch.where(positive, boxes[which, 0].long(), -1))
        chosen = sides[torch.arange(len(sides), device=sides.device), which]
        distances.append(torch.where(positive[:, None], chosen, 0.0))
    return Assigned(torch.stack(labels), torch.stack(distances))


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Of every output, unreduced: -alpha_t (1 - p_t)^2 log(p_t); Lin et al. 2017, equation 5."""
    p = logits.sigmoid()
    missed = p + wanted - 2 * p * wanted  # 1 - p_t
    alpha = (1 - ALPHA) + (2 * ALPHA - 1) * wanted
    return alpha * missed**GAMMA * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def corners(centres: Tensor, distances: Tensor) -> Tensor:
    """Points (..., 2) and their distances to the sides (..., 4) to boxes (..., 4)."""
    return torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), dim=-1)


def decode(output: PointOutputs, size: Sequence[int], how: Decoding) -> tuple[Tensor, ...]:
    """The detections of each image of `size` (H, W): float32 (n, 6) of label, score, x1, y1, x2, y2.

    The score is the geometric mean of the class's probability and the centre-ness, which has the order of the paper's
    product. Boxes are cut off at the image's border.
    """
    points = Points.of(output)
    boxes = points.boxes()
    probs = points.logits.sigmoid()
    scores = (probs * points.centreness.sigmoid()[..., None]).sqrt()
    scores = torch.where(probs > how.min_score, scores, -1.0)
    height, width = size
    limits = boxes.new_tensor((width, height, width, height))
    found = []
    for i in range(len(boxes)):
        rows = [
            _best(scores[i, points.levels == level], boxes[i, points.levels == level], how.candidates)
            for level in range(len(output.strides))
        ]
        candidates = torch.cat(rows)
        candidates[:, 2:] = candidates[:, 2:].clamp(min=0).minimum(limits)
        candidates = candidates[(candidates[:, 4] > candidates[:, 2]) & (candidates[:, 5] > candidates[:, 3])]
        kept = suppress(candidates[:, 2:], candidates[:, 1], candidates[:, 0], how.overlap, how.most)
        found.append(candidates[kept])
    return tuple(found)


def _best(scores: Tensor, boxes: Tensor, most: int) -> Tensor:
    """The best candidates of a level with scores (P, K) and boxes (P, 4): (n, 6)."""
    values, where = scores.flatten().topk(min(most, scores.numel()))
    where = where[values >= 0]
    values = values[values >= 0]
    point = where // scores.shape[1]
    return torch.cat(((where % scores.shape[1])[:, None].float(), values[:, None], boxes[point]), dim=1)
