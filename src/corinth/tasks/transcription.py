"""Transcription: the labels that are heard in a recording, by connectionist temporal classification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from corinth.layers.ctc import NO_LABEL, best_path, negative_log_likelihood
from corinth.tasks.editing import ErrorRate, distance
from corinth.tasks.means import CountedMean
from corinth.tasks.task import Phase, Task, Term


@dataclass(frozen=True)
class TranscriptPredictions:
    """`logits` (B, T, K + 1), the blank last; `lengths` (B,) says how many steps count."""

    logits: Tensor
    lengths: Tensor


class Transcription(Task):
    """`batch.inputs` are `corinth.data.Sequences`, `batch.targets` labels int64 (B, U), -100 behind each end.

    The loss is a mean over labels: the sum of -ln p(labelling) of all recordings over the number of labels in them, so
    that a long recording weighs as much as short ones of the same labels.
    """

    name = "transcription"

    def __init__(self, model: nn.Module, classes: Sequence[str]) -> None:
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.classes = tuple(classes)

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`, and `error_rate` of the best paths, watched only."""
        found = self.predict(batch)
        loss, true = self._loss(found, batch), labels_of(batch.targets)
        count = sum(map(len, true))
        edits = sum(map(distance, best_path(found.logits.detach(), found.lengths), true))
        rate = torch.as_tensor(edits / count, device=loss.device)
        return {"loss": Term(loss / count, count=count), "error_rate": Term(rate, weight=0.0, count=count)}

    def _loss(self, found: TranscriptPredictions, batch: Any) -> Tensor:
        return negative_log_likelihood(found.logits, found.lengths, batch.targets).sum()

    def metrics(self) -> MetricCollection:
        """`loss` as trained and `error_rate` of the best paths, both over labels."""
        return MetricCollection({"loss": CountedMean(), "error_rate": ErrorRate()}, compute_groups=False)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        found, true = self.predict(batch), labels_of(batch.targets)
        count = sum(map(len, true))
        named: Any = metrics
        named["loss"].update(self._loss(found, batch) / count, count)
        named["error_rate"].update(best_path(found.logits, found.lengths), true)

    def predict(self, batch: Any) -> TranscriptPredictions:
        logits = self.nets["model"](batch.inputs.values, batch.inputs.lengths)
        return TranscriptPredictions(logits, batch.inputs.lengths)

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        """As many labels as a third of the steps, for which there is room whatever repeats."""
        return (torch.arange(max(1, shape[0] // 3)) % len(self.classes)).expand(size, -1).clone()

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        return -metrics["error_rate"], -metrics["loss"]


def labels_of(targets: Tensor) -> list[list[int]]:
    """Each row of targets (B, U) without what is behind its end."""
    return [[label for label in row if label != NO_LABEL] for row in targets.tolist()]
