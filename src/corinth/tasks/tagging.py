"""Tagging: a class for every step of a sequence, by cross-entropy or by a conditional random field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from corinth.data.sequences.batch import NO_TAG
from corinth.tasks.entities import EntityF1, has_entities
from corinth.tasks.means import CountedMean
from corinth.tasks.task import Phase, Task, Term


@dataclass(frozen=True)
class TagPredictions:
    """`tags` int64 (B, T), the likeliest sequence of them; `lengths` (B,) says how many count."""

    tags: Tensor
    lengths: Tensor


class SequenceTagging(Task):
    """`batch.inputs` are `corinth.data.Sequences`, `batch.targets` tags int64 (B, T), -100 behind each end.

    The loss is a mean over tokens: the cross-entropy of each, or, where the network has a `crf`, the negative
    log-likelihood of the whole sequence of tags divided by its length.
    """

    name = "sequence-tagging"

    def __init__(self, model: nn.Module, classes: Sequence[str]) -> None:
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.classes = tuple(classes)

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`, and `accuracy` of the tags, watched only."""
        logits = self._logits(batch)
        loss, count = self._loss(logits, batch)
        right = self._right(logits.detach(), batch) / count
        return {"loss": Term(loss / count, count=count), "accuracy": Term(right, weight=0.0, count=count)}

    def _logits(self, batch: Any) -> Tensor:
        return self.nets["model"](batch.inputs.values, batch.inputs.lengths)

    def _loss(self, logits: Tensor, batch: Any) -> tuple[Tensor, int]:
        """The sum over the tokens, and their number."""
        crf: Any = self.nets["model"].crf
        targets = _as_long(batch.targets, logits)
        if crf is not None:
            total = -crf(logits, targets, batch.inputs.lengths).sum()
        else:
            total = F.cross_entropy(
                logits.flatten(0, 1).float(), targets.flatten(), ignore_index=NO_TAG, reduction="sum"
            )
        return total, int(batch.inputs.lengths.sum())

    def _right(self, logits: Tensor, batch: Any) -> Tensor:
        """How many tags are right; what does not count equals no tag."""
        return (self.decode(logits, batch.inputs.lengths) == _as_long(batch.targets, logits)).sum().float()

    def decode(self, logits: Tensor, lengths: Tensor) -> Tensor:
        """The likeliest tags, int64 (B, T)."""
        crf: Any = self.nets["model"].crf
        return logits.argmax(2) if crf is None else crf.decode(logits, lengths)

    def metrics(self) -> MetricCollection:
        """`loss` as trained and `accuracy`, both over tokens; `entity_f1` where tags say where entities begin."""
        named: dict[str, Metric | MetricCollection] = {"loss": CountedMean(), "accuracy": CountedMean()}
        if has_entities(self.classes):
            named["entity_f1"] = EntityF1(self.classes)
        return MetricCollection(named, compute_groups=False)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        logits = self._logits(batch)
        loss, count = self._loss(logits, batch)
        found: Any = metrics
        found["loss"].update(loss / count, count)
        found["accuracy"].update(self._right(logits, batch) / count, count)
        if "entity_f1" in found:
            tags = self.decode(logits, batch.inputs.lengths)
            found["entity_f1"].update(tags, _as_long(batch.targets, logits), batch.inputs.lengths)

    def predict(self, batch: Any) -> TagPredictions:
        return TagPredictions(self.decode(self._logits(batch), batch.inputs.lengths), batch.inputs.lengths)

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(size, *shape[:1], dtype=torch.int64)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """By the F1 of entities, where there are some: most words are in none. Then by accuracy, then by loss."""
        return metrics.get("entity_f1", 0.0), metrics["accuracy"], -metrics["loss"]


def _as_long(targets: Tensor, logits: Tensor) -> Tensor:
    """Tags (B, T) as far as the longest sentence of this part of a batch."""
    return targets[:, : logits.shape[1]]
