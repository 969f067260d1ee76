"""Frame classification: the loss is a mean over frames, padding counts for nothing."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.data import Batch, Sequences
from corinth.data.sequences.batch import NO_TAG
from corinth.tasks import FrameClassification
from corinth.tasks.kinds import KINDS

LENGTHS = torch.tensor([4, 2, 1])
TARGETS = torch.tensor([[0, 1, 2, 1], [2, 2, NO_TAG, NO_TAG], [1, NO_TAG, NO_TAG, NO_TAG]])


class Given(nn.Module):
    """Says the same logits of every batch, whatever stands in it; those behind an end are wild."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        rows = x[:, 0, 0].long()
        return self.logits[rows][:, : x.shape[1]]


def batch(rows: slice = slice(None)) -> Batch:
    values = torch.arange(3.0)[:, None, None].expand(3, 4, 1)
    inputs = Sequences(values, LENGTHS)
    chosen = Sequences(inputs.values[rows], LENGTHS[rows])
    return Batch(chosen, TARGETS[rows], torch.arange(3)[rows])


def losses(task: Any, part: Batch) -> Any:
    return task.losses("train", part, torch.Generator())


def test_the_loss_is_the_mean_over_frames() -> None:
    task = FrameClassification(Given(), ("a", "b", "c"))
    logits = task.nets["model"].logits  # ty: ignore
    frames = [(row, step) for row, length in enumerate(LENGTHS.tolist()) for step in range(length)]
    each = [F.cross_entropy(logits[r, s], TARGETS[r, s]) for r, s in frames]  # ty: ignore
    terms = losses(task, batch())
    assert terms["loss"].value.item() == pytest.approx(torch.stack(each).mean().item())
    assert terms["loss"].count == terms["accuracy"].count == 7
    right = sum(int(logits[r, s].argmax() == TARGETS[r, s]) for r, s in frames)  # ty: ignore
    assert terms["accuracy"].value.item() == pytest.approx(right / 7)
    assert terms["accuracy"].weight == 0
    terms["loss"].value.backward()
    assert not logits.grad[1, 2:].any()  # ty: ignore


def test_parts_put_together_are_the_whole() -> None:
    task = FrameClassification(Given(), ("a", "b", "c"), class_weights=(0.5, 2.0, 1.0))
    whole = losses(task, batch())["loss"]
    parts = [losses(task, batch(rows))["loss"] for rows in (slice(0, 1), slice(1, 3))]
    together = sum(part.value * part.count for part in parts) / sum(part.count for part in parts)
    assert together.item() == pytest.approx(whole.value.item())
    metrics, once = task.metrics(), task.metrics()
    for rows in (slice(0, 1), slice(1, 3)):
        task.measure(metrics, batch(rows))
    task.measure(once, batch())
    for name, value in once.compute().items():
        assert metrics.compute()[name].item() == pytest.approx(value.item())


def test_weights_of_classes_weigh_frames() -> None:
    plain, heavy = (FrameClassification(Given(), "abc", class_weights=w) for w in (None, (1.0, 1.0, 3.0)))
    logits = plain.nets["model"].logits  # ty: ignore
    frames = [(r, s, 3.0 if TARGETS[r, s] == 2 else 1.0) for r in range(3) for s in range(int(LENGTHS[r]))]
    total = sum(weight * F.cross_entropy(logits[r, s], TARGETS[r, s]).item() for r, s, weight in frames)  # ty: ignore
    assert losses(heavy, batch())["loss"].value.item() == pytest.approx(total / 7)
    measured = heavy.metrics()
    heavy.measure(measured, batch())
    assert measured.compute()["loss"].item() == pytest.approx(losses(plain, batch())["loss"].value.item())
    with pytest.raises(ValueError, match="2 class weights for 3 classes"):
        FrameClassification(Given(), "abc", class_weights=(1.0, 2.0))


def test_predictions_and_rank() -> None:
    task = FrameClassification(Given(), "abc")
    found = task.predict(batch())
    torch.testing.assert_close(found.probs.sum(2), torch.ones(3, 4))
    assert found.lengths.tolist() == LENGTHS.tolist()
    assert task.rank({"accuracy": 0.5, "loss": 1.0}) > task.rank({"accuracy": 0.5, "loss": 2.0})
    assert task.rank({"accuracy": 0.6, "loss": math.inf}) > task.rank({"accuracy": 0.5, "loss": 0.0})
    assert task.random_targets(2, (5,)).shape == (2, 5)
    kind = KINDS[task.name]
    assert (kind.metric, kind.unit, kind.classification) == ("accuracy", "clip", False)
    assert SimpleNamespace(**task.phases).train.nets == ("model",)
