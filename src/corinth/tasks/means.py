"""Streaming means, of what the tasks measure."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from corinth.data.sequences.batch import NO_TAG


class _Mean(Metric):
    """A sum over a count, both added up over batches and processes."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        return self.total / self.count


class CountedMean(_Mean):
    """The mean of means, each weighed by the number that it is over."""

    def update(self, value: Tensor, count: float) -> None:
        self.total += value.detach() * count
        self.count += count


class RootMean(CountedMean):
    """The root of such a mean, of squares."""

    def compute(self) -> Tensor:
        return super().compute().sqrt()


class Largest(Metric):
    """The largest of all values, none of them negative."""

    full_state_update = False
    largest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("largest", torch.zeros(()), dist_reduce_fx="max")

    def update(self, values: Tensor) -> None:
        self.largest = torch.maximum(self.largest, values.detach().max().to(self.largest))

    def compute(self) -> Tensor:
        return self.largest


class MeanOver(_Mean):
    """Sums over their counts."""

    def update(self, total: Tensor, count: float) -> None:
        self.total += total.detach()
        self.count += count


class CrossEntropy(_Mean):
    """Mean cross-entropy in nats, over samples or over the pixels of masks; targets that are `ignored` do not count."""

    def __init__(self, ignored: int = -100) -> None:
        super().__init__()
        self.ignored = ignored

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Logits (B, K, ...) and class numbers (B, ...)."""
        self.total += F.cross_entropy(preds, target.long(), ignore_index=self.ignored, reduction="sum")
        self.count += (target != self.ignored).sum()


def share_right(logits: Tensor, targets: Tensor) -> Tensor:
    """The share of targets (N,) that are the likeliest by logits (N, V); the largest is found faster than its place."""
    counts = targets != NO_TAG
    own = logits.detach().gather(1, targets.clamp(min=0)[:, None])[:, 0]
    return ((own == logits.detach().amax(1)) & counts).sum() / counts.sum()
