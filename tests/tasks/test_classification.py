"""Image classification: what the loss is, hard and mixed labels, weights, auxiliary heads, metrics."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.data import Batch
from corinth.layers.auxiliary import WithAux
from corinth.tasks import ImageClassification, balanced_weights

CLASSES = tuple("abcdefg")


class Auxiliary(nn.Linear):
    def forward(self, x: Tensor) -> Tensor | WithAux:
        logits = super().forward(x.flatten(1))
        return WithAux(logits, (logits * 2, logits + 1), 0.3) if self.training else logits


class Flat(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    return Batch(torch.randn(6, 1, 2, 2), torch.tensor([0, 1, 2, 2, 6, 0]), torch.arange(6))


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_loss_is_cross_entropy_over_the_batch(batch: Batch) -> None:
    task = ImageClassification(Flat(4, 7), CLASSES)
    terms = task.losses("train", batch, rng())
    logits = task.nets["model"](batch.inputs)
    torch.testing.assert_close(terms["loss"].value, F.cross_entropy(logits, batch.targets))
    assert (terms["loss"].weight, terms["loss"].count) == (1.0, 6)
    assert terms["top1"].weight == 0
    assert not terms["top1"].value.requires_grad
    assert float(terms["top1"].value) == pytest.approx(float((logits.argmax(1) == batch.targets).float().mean()))


def test_mixed_labels_are_shares_of_classes(batch: Batch) -> None:
    task = ImageClassification(Flat(4, 7), CLASSES, label_smoothing=0.1)
    hard = task.losses("train", batch, rng())
    soft = task.losses("train", Batch(batch.inputs, F.one_hot(batch.targets, 7).float(), batch.index), rng())
    for name in hard:
        torch.testing.assert_close(hard[name].value, soft[name].value)
    mixed = 0.3 * F.one_hot(batch.targets, 7) + 0.7 * F.one_hot(batch.targets.roll(1), 7)
    value = task.losses("train", Batch(batch.inputs, mixed, batch.index), rng())["loss"].value
    logits = task.nets["model"](batch.inputs)
    smoothed = 0.9 * mixed + 0.1 / 7
    torch.testing.assert_close(value, -(smoothed * logits.log_softmax(1)).sum(1).mean())


def test_class_weights_weigh_samples_and_keep_parts_additive(batch: Batch) -> None:
    weights = [1.0, 2.0, 0.5, 1.0, 1.0, 1.0, 3.0]
    task = ImageClassification(Flat(4, 7), CLASSES, class_weights=weights)
    value = task.losses("train", batch, rng())["loss"].value
    logits = task.nets["model"](batch.inputs)
    each = F.cross_entropy(logits, batch.targets, reduction="none") * torch.tensor(weights)[batch.targets]
    torch.testing.assert_close(value, each.mean())
    soft = Batch(batch.inputs, F.one_hot(batch.targets, 7).float(), batch.index)
    torch.testing.assert_close(task.losses("train", soft, rng())["loss"].value, each.mean())


def test_balanced_weights_are_inverse_to_frequency_with_mean_one_over_samples() -> None:
    labels = np.array([0] * 60 + [1] * 30 + [3] * 10)
    weights = balanced_weights(labels, 4)
    assert weights[2] == 0
    torch.testing.assert_close(weights[[0, 1, 3]] * torch.tensor([60.0, 30.0, 10.0]), torch.full((3,), 100 / 3))
    assert float(weights[labels].mean()) == pytest.approx(1.0)


def test_as_many_weights_as_classes() -> None:
    with pytest.raises(ValueError, match="2 class weights for 7 classes"):
        ImageClassification(Flat(4, 7), CLASSES, class_weights=[1.0, 2.0])


def test_auxiliary_heads_are_terms_of_their_own(batch: Batch) -> None:
    task = ImageClassification(Auxiliary(4, 7), CLASSES)
    task.nets.train()
    terms = task.losses("train", batch, rng())
    assert {name: term.weight for name, term in terms.items()} == {"loss": 1.0, "aux1": 0.3, "aux2": 0.3, "top1": 0.0}
    output = task.nets["model"](batch.inputs)
    torch.testing.assert_close(terms["aux1"].value, F.cross_entropy(output.aux[0], batch.targets))
    torch.testing.assert_close(task.predict(batch).logits, output.logits)


@torch.no_grad()
def test_metrics_are_means_over_samples_whatever_the_batches(batch: Batch) -> None:
    task = ImageClassification(Flat(4, 7), CLASSES)
    logits = task.predict(batch).logits
    metrics = task.metrics()
    for rows in (slice(0, 4), slice(4, 5), slice(5, 6)):
        task.measure(metrics, Batch(batch.inputs[rows], batch.targets[rows], batch.index[rows]))
    values = {name: float(value) for name, value in metrics.compute().items()}
    best5 = logits.topk(5).indices
    assert values["loss"] == pytest.approx(float(F.cross_entropy(logits, batch.targets)))
    assert values["top1"] == pytest.approx(float((logits.argmax(1) == batch.targets).float().mean()))
    assert values["top5"] == pytest.approx(float((best5 == batch.targets[:, None]).any(1).float().mean()))


def test_top5_needs_more_than_five_classes() -> None:
    assert set(ImageClassification(Flat(4, 5), CLASSES[:5]).metrics()) == {"loss", "top1"}


def test_probabilities(batch: Batch) -> None:
    predictions = ImageClassification(Flat(4, 7), CLASSES).predict(batch)
    torch.testing.assert_close(predictions.probs.sum(1), torch.ones(6))
    assert predictions.probs.dtype == torch.float32


def test_rank_prefers_accuracy_then_a_lower_loss() -> None:
    rank = ImageClassification(Flat(4, 7), CLASSES).rank
    assert rank({"top1": 0.9, "loss": 0.5}) > rank({"top1": 0.8, "loss": 0.1})
    assert rank({"top1": 0.9, "loss": 0.4}) > rank({"top1": 0.9, "loss": 0.5})
    assert not math.isnan(rank({"top1": 0.9, "loss": 0.4})[1])
