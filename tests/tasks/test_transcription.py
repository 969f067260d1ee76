"""Transcription: edits, loss and metrics."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.text import EditDistance, WordErrorRate

from corinth.data import Batch, Sequences
from corinth.layers.ctc import NO_LABEL, best_path
from corinth.tasks import Transcription
from corinth.tasks.editing import ErrorRate, alignment, distance
from corinth.tasks.transcription import labels_of
from corinth.training.stepping import split


def random_labels(seed: int, most: int = 9) -> list[int]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, size=rng.integers(0, most)).tolist()


def test_edits_are_those_of_torchmetrics() -> None:
    pairs = [(random_labels(seed), random_labels(seed + 1000)) for seed in range(80)]
    for said, true in pairs:
        letters = ["".join(map(str, labels)) for labels in (said, true)]
        assert distance(said, true) == int(EditDistance(reduction="sum")([letters[0]], [letters[1]]))
    texts = [(" ".join(map(str, said)), " ".join(map(str, true))) for said, true in pairs]
    ours, theirs = ErrorRate(), WordErrorRate()
    for rows in (slice(0, 7), slice(7, 50), slice(50, None)):
        ours.update([said for said, _ in pairs[rows]], [true for _, true in pairs[rows]])
        theirs.update([said for said, _ in texts[rows]], [true for _, true in texts[rows]])
    assert float(ours.compute()) == pytest.approx(float(theirs.compute()))


def test_an_alignment_is_both_sequences_with_the_fewest_edits() -> None:
    for seed in range(60):
        said, true = random_labels(seed), random_labels(seed + 500)
        found = alignment(said, true)
        assert [a for a, _ in found if a is not None] == true
        assert [b for _, b in found if b is not None] == said
        assert sum(a != b for a, b in found) == distance(said, true)
    assert alignment([1, 3, 4], [1, 2, 3, 4]) == [(1, 1), (2, None), (3, 3), (4, 4)]


class Fixed(nn.Module):
    """Logits of its input's own values."""

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return x


def batch(rows: int = 5, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, 8, 4, generator=generator, requires_grad=True)
    lengths = torch.tensor([8, 7, 5, 8, 6])[:rows]
    targets = torch.tensor([[0, 1, 2], [2, 2, NO_LABEL], [1, NO_LABEL, NO_LABEL], [0, 0, 0], [1, 0, NO_LABEL]])[:rows]
    return Batch(Sequences(values, lengths), targets, torch.arange(rows))


def test_parts_of_a_batch_add_up() -> None:
    """Over 11 labels of five recordings the loss and its gradient are the same in one go and in parts."""
    task = Transcription(Fixed(), ("a", "b", "c"))
    whole = batch()
    terms = task.losses("train", whole, torch.Generator())
    assert terms["loss"].count == 11
    terms["loss"].value.backward()
    other = batch()
    total, errors = 0.0, 0.0
    for part in split(other, 3):
        found = task.losses("train", part, torch.Generator())
        (found["loss"].value * found["loss"].count / 11).backward()
        total += found["loss"].value.item() * found["loss"].count / 11
        errors += float(found["error_rate"].value) * found["error_rate"].count / 11
    assert total == pytest.approx(terms["loss"].value.item(), rel=1e-5)
    assert errors == pytest.approx(float(terms["error_rate"].value), rel=1e-5)
    torch.testing.assert_close(other.inputs.values.grad, whole.inputs.values.grad)


def test_metrics_over_batches_are_those_of_all() -> None:
    task: Any = Transcription(Fixed(), ("a", "b", "c"))
    whole = batch()
    apart = task.metrics()
    with torch.no_grad():
        for part in split(whole, 2):
            task.measure(apart, part)
        together = task.metrics()
        task.measure(together, whole)
        found, once = ({k: float(v) for k, v in m.compute().items()} for m in (apart, together))
    assert found == pytest.approx(once, rel=1e-5)
    terms = task.losses("train", whole, torch.Generator())
    assert found["loss"] == pytest.approx(terms["loss"].value.item(), rel=1e-5)
    said = best_path(whole.inputs.values, whole.inputs.lengths)
    edits = sum(distance(a, b) for a, b in zip(said, labels_of(whole.targets), strict=True))
    assert found["error_rate"] == pytest.approx(edits / 11)
    assert task.rank({"error_rate": 0.1, "loss": 5.0}) > task.rank({"error_rate": 0.2, "loss": 1.0})


def test_random_targets_fit_their_steps() -> None:
    for classes, steps in ((("a",), 9), (("a", "b", "c"), 2)):
        task = Transcription(Fixed(), classes)
        targets = task.random_targets(3, (steps,))
        logits = torch.randn(3, steps, len(classes) + 1)
        found = task.losses("train", SimpleNamespace(inputs=Sequences.of(logits), targets=targets), torch.Generator())
        assert found["loss"].value.isfinite()
