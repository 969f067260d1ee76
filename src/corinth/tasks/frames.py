"""Frame classification: a class for every step of a sequence, of pictures or of numbers, by cross-entropy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection

from corinth.data.sequences.batch import NO_TAG
from corinth.tasks.means import CountedMean
from corinth.tasks.task import Phase, Task, Term, weights_of_classes


@dataclass(frozen=True)
class FramePredictions:
    """`probs` (B, T, K) float32, of which `lengths` (B,) steps count."""

    probs: Tensor
    lengths: Tensor


class FrameClassification(Task):
    """`batch.inputs` are `corinth.data.Sequences`, `batch.targets` classes int64 (B, T), -100 behind each end.

    The loss is a mean over steps. `class_weights`, one a class, weigh the loss of each; it stays a mean over steps, so
    weights whose mean over the training steps is 1 leave its scale alone.
    """

    name = "frame-classification"

    def __init__(
        self, model: nn.Module, classes: Sequence[str], *, class_weights: Sequence[float] | Tensor | None = None
    ) -> None:
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.classes = tuple(classes)
        self.class_weights = weights_of_classes(class_weights, classes)

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`, and `accuracy` of the steps, watched only."""
        logits, targets = self._answered(batch)
        weight = None if self.class_weights is None else self.class_weights.to(logits.device)
        total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), weight, ignore_index=NO_TAG, reduction="sum")
        count = int(batch.inputs.lengths.sum())
        right = _right(logits.detach(), targets) / count
        return {"loss": Term(total / count, count=count), "accuracy": Term(right, weight=0.0, count=count)}

    def _answered(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits (B, T, K), and classes (B, T) as far as the longest sequence of this part of a batch."""
        logits = self.nets["model"](batch.inputs.values, batch.inputs.lengths).float()
        return logits, batch.targets[:, : logits.shape[1]]

    def metrics(self) -> MetricCollection:
        """`loss` (plain cross-entropy, without weights) and `accuracy`, both over steps."""
        named: Any = {"loss": CountedMean(), "accuracy": CountedMean()}
        return MetricCollection(named, compute_groups=False)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        logits, targets = self._answered(batch)
        count = int(batch.inputs.lengths.sum())
        total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TAG, reduction="sum")
        found: Any = metrics
        found["loss"].update(total / count, count)
        found["accuracy"].update(_right(logits, targets) / count, count)

    def predict(self, batch: Any) -> FramePredictions:
        logits = self.nets["model"](batch.inputs.values, batch.inputs.lengths).float()
        return FramePredictions(logits.softmax(dim=2), batch.inputs.lengths)

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(size, *shape[:1], dtype=torch.int64)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """By accuracy, then by loss."""
        return metrics["accuracy"], -metrics["loss"]


def _right(logits: Tensor, targets: Tensor) -> Tensor:
    """How many steps are right; what does not count equals no class."""
    return (logits.argmax(2) == targets).sum().float()
