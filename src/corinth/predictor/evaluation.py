"""Scores of a classifier over a set of samples, gathered batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MulticlassConfusionMatrix

from corinth.errors import DataError, WeightsError

CALIBRATION_BINS = 15


def alone(metrics: MetricCollection) -> MetricCollection:
    """Metrics of what this process has seen, though others may have been started with it: only a training puts those of
    all together, and whoever evaluates behind it would wait for processes that have left."""
    for metric in metrics.values():
        metric.distributed_available_fn = _never
    return metrics


def _never() -> bool:
    return False


@dataclass(frozen=True)
class ClassScore:
    """One class: precision TP / (TP + FP), recall TP / (TP + FN), their harmonic mean, and its number of samples.

    A share with nothing to divide by is 0, as in scikit-learn.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int

    def to_dict(self) -> dict[str, float]:
        return {"precision": self.precision, "recall": self.recall, "f1": self.f1, "support": self.support}


def mean_f1(per_class: Sequence[ClassScore]) -> float:
    """The mean F1 of the classes that occur."""
    present = [score.f1 for score in per_class if score.support]
    return sum(present) / len(present)


@dataclass(frozen=True)
class Evaluation:
    """The scores of N samples in K classes. Shares are in [0, 1]; `loss` is the mean cross-entropy in nats.

    `confusion[i, j]` counts samples of class i that were called j. `calibration_error` is the expected calibration
    error over 15 equal-width bins of the top probability: the mean over samples of |accuracy - confidence| of their
    bin (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599, eq. 3). `top5` counts a sample as right when its class
    is among the five likeliest; it is None where there are no more than five classes, as it could not be missed.
    `dropped` lists images that turned out damaged and were not scored, as (name, reason).
    `probs` (N, K), `targets` (N,), `correct` (N,) and `index` (N,), the samples' positions in the data, are in order of
    evaluation.
    """

    classes: tuple[str, ...]
    samples: int
    top1: float
    top5: float | None
    loss: float
    per_class: tuple[ClassScore, ...]
    confusion: np.ndarray
    calibration_error: float
    targets: np.ndarray
    index: np.ndarray
    correct: np.ndarray
    probs: np.ndarray | None = None
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> float:
        """Top-1."""
        return self.top1

    @property
    def per_sample(self) -> np.ndarray:
        """(N,), 1 where the sample was called what it is."""
        return self.correct.astype(float)

    @property
    def macro_f1(self) -> float:
        return mean_f1(self.per_class)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-sample arrays are left out."""
        return {
            "samples": self.samples,
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "macro_f1": self.macro_f1,
            "calibration_error": self.calibration_error,
            "per_class": {score.name: score.to_dict() for score in self.per_class},
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "dropped": [{"name": name, "reason": reason} for name, reason in self.dropped],
        }


class Evaluator:
    """Streaming metrics: `update` with logits, then `result`. Only with `keep_probs` does it keep a row per sample."""

    def __init__(self, classes: Sequence[str], *, keep_probs: bool = False, device: str | torch.device = "cpu") -> None:
        count = len(classes)
        self.classes = tuple(classes)
        self._probs: list[Tensor] | None = [] if keep_probs else None
        self._targets: list[Tensor] = []
        self._index: list[Tensor] = []
        self._correct: list[Tensor] = []
        named: dict[str, Any] = {
            "loss": MeanMetric(nan_strategy="disable"),
            "confusion": MulticlassConfusionMatrix(count, validate_args=False),
            "calibration": MulticlassCalibrationError(count, CALIBRATION_BINS, validate_args=False),
        }
        if count > 5:
            named["top5"] = MulticlassAccuracy(count, top_k=5, average="micro", validate_args=False)
        found: Any = dict(alone(MetricCollection(named, compute_groups=False)).to(device).items())
        self._loss, self._confusion, self._calibration = (found[name] for name in ("loss", "confusion", "calibration"))
        self._top5 = found.get("top5")

    def update(self, logits: Tensor, targets: Tensor, index: Tensor) -> None:
        """Logits (B, K), class numbers (B,), positions (B,)."""
        logits = logits.float()
        probs = logits.softmax(dim=1)
        self._loss.update(F.cross_entropy(logits, targets, reduction="none"))
        self._confusion.update(logits, targets)
        self._calibration.update(probs, targets)
        if self._top5 is not None:
            self._top5.update(logits, targets)
        self._targets.append(targets.cpu())
        self._correct.append((logits.argmax(dim=1) == targets).cpu())
        self._index.append(index.cpu())
        if self._probs is not None:
            self._probs.append(probs.cpu())

    def result(self, dropped: Sequence[tuple[str, str]] = ()) -> Evaluation:
        if not self._targets:
            raise DataError("there is nothing to evaluate: the chosen part of the data has no samples")
        loss = self._loss.compute().item()
        if not np.isfinite(loss):
            raise WeightsError(f"the network's outputs are not finite (mean loss {loss}); its weights are damaged")
        confusion = self._confusion.compute().cpu().numpy()
        return Evaluation(
            classes=self.classes,
            samples=int(confusion.sum()),
            top1=float(confusion.trace() / confusion.sum()),
            top5=self._top5.compute().item() if self._top5 is not None else None,
            loss=loss,
            per_class=per_class_scores(self.classes, confusion),
            confusion=confusion,
            calibration_error=self._calibration.compute().item(),
            targets=torch.cat(self._targets).numpy(),
            index=torch.cat(self._index).numpy(),
            correct=torch.cat(self._correct).numpy(),
            probs=torch.cat(self._probs).numpy() if self._probs is not None else None,
            dropped=tuple(dropped),
        )


def per_class_scores(classes: Sequence[str], confusion: np.ndarray) -> tuple[ClassScore, ...]:
    """Of a confusion matrix (K, K), true classes in rows."""
    hits = confusion.diagonal().astype(float)
    called, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=support > 0)
    total = called + support
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    return tuple(
        ClassScore(name, float(p), float(r), float(f), int(s))
        for name, p, r, f, s in zip(classes, precision, recall, f1, support)
    )
