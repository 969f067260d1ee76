"""What classifiers of all kinds do alike: name the likeliest classes, match labels by name, score a part of data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corinth.data import Loader, Store
from corinth.data.dataset import DataSet
from corinth.errors import DataError
from corinth.predictor.evaluation import Evaluation, Evaluator


@dataclass(frozen=True)
class Prediction:
    """What one sample was taken for: the likeliest classes, best first; or `error`, why it could not be read."""

    name: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        top = [{"label": label, "probability": p} for label, p in self.top]
        return {"name": self.name, "label": self.label, "probability": self.probability, "top": top}


def ranked(names: Sequence[str], probs: Tensor, classes: Sequence[str], top: int) -> list[Prediction]:
    """The `top` likeliest classes of each sample, by its probabilities (B, K)."""
    values, order = (t.tolist() for t in probs.topk(min(top, len(classes)), dim=1))
    found = []
    for name, row, ranks in zip(names, values, order, strict=True):
        best = tuple((classes[rank], p) for rank, p in zip(ranks, row, strict=True))
        found.append(Prediction(name, *best[0], best))
    return found


def score(
    data: DataSet,
    split: str,
    store: Callable[[], Store],
    logits: Callable[[Any], Tensor],
    *,
    arch: str,
    classes: Sequence[str],
    batch_size: int,
    keep_probs: bool,
    device: torch.device,
) -> Evaluation:
    """Score a part of `data` in the classes of a network: `logits(inputs)` says what it makes of a batch (B, K)."""
    if not len(data.positions(split)):
        raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
    numbers = torch.as_tensor(class_numbers(data, classes, arch), device=device)
    samples = store()
    evaluator = Evaluator(classes, keep_probs=keep_probs, device=device)
    with torch.inference_mode():
        for batch in Loader(samples, batch_size, device=device):
            evaluator.update(logits(batch.inputs), numbers[batch.targets], batch.index)
    return evaluator.result(dropped=samples.dropped)


def class_numbers(data: DataSet, classes: Sequence[str], arch: str) -> list[int]:
    """For each class of `data` its number in `classes`; a class without samples has any."""
    mine = {name: number for number, name in enumerate(classes)}
    counts = np.bincount(data.source.labels, minlength=data.num_classes)
    unseen = [name for name, count in zip(data.classes, counts) if count and name not in mine]
    if unseen:
        raise DataError(
            f"{data.name} has labels that this {arch} was not trained on: {some(unseen)}; it knows {some(classes)}"
        )
    return [mine.get(name, 0) for name in data.classes]


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
