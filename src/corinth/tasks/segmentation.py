"""Semantic segmentation: cross-entropy of every pixel, mean IoU, Dice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from corinth.data.preprocess import IGNORED
from corinth.tasks.means import CrossEntropy
from corinth.tasks.task import Phase, Task, Term, weights_of_classes


@dataclass(frozen=True)
class MaskPredictions:
    """`logits` (B, K, H, W) float32, at the resolution of the input."""

    logits: Tensor


class SemanticSegmentation(Task):
    """One network, one phase. `batch.inputs` (B, C, H, W) float; `batch.targets` (B, H, W) class ids, 255 ignored.

    The loss of an image is the mean over its pixels that have a class, and that of a batch the mean over its images,
    so that images count alike however much of them is padding. `class_weights`, one a class, weigh the pixels.
    """

    name = "semantic-segmentation"

    def __init__(
        self, model: nn.Module, classes: Sequence[str], *, class_weights: Sequence[float] | Tensor | None = None
    ) -> None:
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.classes = tuple(classes)
        self.class_weights = weights_of_classes(class_weights, classes)

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`; `pixel_accuracy`, watched only."""
        logits = self.nets["model"](batch.inputs)
        counted = batch.targets != IGNORED
        right = ((logits.detach().argmax(dim=1) == batch.targets) & counted).sum() / counted.sum().clamp(min=1)
        return {
            "loss": Term(self.cross_entropy(logits, batch.targets), count=batch.size),
            "pixel_accuracy": Term(right, weight=0.0, count=batch.size),
        }

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (B, K, H, W) and ids (B, H, W) to a scalar; an image without a class in it counts as 0."""
        if self.class_weights is not None and self.class_weights.device != logits.device:
            self.class_weights = self.class_weights.to(logits.device)
        each = F.cross_entropy(
            logits.float(), targets.long(), weight=self.class_weights, ignore_index=IGNORED, reduction="none"
        )
        counted = (targets != IGNORED).sum(dim=(1, 2)).clamp(min=1)
        return (each.sum(dim=(1, 2)) / counted).mean()

    def metrics(self) -> MetricCollection:
        """`loss` (cross-entropy of the pixels, without weights), `miou`, `dice`, `pixel_accuracy`."""
        named: dict[str, Metric | MetricCollection] = {
            "loss": CrossEntropy(ignored=IGNORED),
            "scores": MaskScores(len(self.classes)),
        }
        return MetricCollection(named, compute_groups=False)

    def predict(self, batch: Any) -> MaskPredictions:
        return MaskPredictions(self.nets["model"](batch.inputs).float())

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        ids = torch.arange(size * shape[0] * shape[1]) % len(self.classes)
        return ids.to(torch.uint8).view(size, *shape)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        metrics.update(self.predict(batch).logits, batch.targets)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """By mean IoU; then by loss."""
        return metrics["miou"], -metrics["loss"]


def confusion(called: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """(K, K) int64 counts of pixels of class i called j, from ids of any one shape; those of truth 255 are left out."""
    pairs = truth.long() * num_classes + called.long()
    pairs = torch.where(truth == IGNORED, num_classes**2, pairs)  # a bin of their own
    return torch.bincount(pairs.flatten(), minlength=num_classes**2 + 1)[:-1].view(num_classes, num_classes)


def overlaps(counts: Tensor) -> tuple[Tensor, Tensor]:
    """IoU, |A and B| / |A or B|, and Dice, 2 |A and B| / (|A| + |B|), of each class from `confusion`, (K,) each.

    NaN where neither the truth nor the network has a pixel of the class.
    """
    counts = counts.cpu().double()  # not every device has doubles
    both, total = counts.diagonal(), counts.sum(0) + counts.sum(1)
    return both / (total - both), 2 * both / total


class MaskScores(Metric):
    """`miou` and `dice`, means over the classes that occur in the truth or the answers, and `pixel_accuracy`."""

    full_state_update = False
    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("counts", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Logits (B, K, H, W) and ids (B, H, W)."""
        self.counts += confusion(preds.argmax(dim=1), target, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        iou, dice = overlaps(self.counts)
        counts = self.counts.cpu().double()
        return {
            "miou": iou.nanmean(),
            "dice": dice.nanmean(),
            "pixel_accuracy": counts.diagonal().sum() / counts.sum().clamp(min=1),
        }
