"""Streaming scores against scikit-learn and against hand-made cases."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, top_k_accuracy_score

from corinth.errors import DataError, WeightsError
from corinth.predictor import Evaluation, Evaluator

CLASSES = tuple("abcdefg")


def scored(
    logits: torch.Tensor, targets: torch.Tensor, classes: tuple[str, ...] = CLASSES, step: int = 17
) -> Evaluation:
    evaluator = Evaluator(classes, keep_probs=True)
    for start in range(0, len(targets), step):
        rows = slice(start, start + step)
        evaluator.update(logits[rows], targets[rows], torch.arange(len(targets))[rows])
    return evaluator.result()


@pytest.fixture
def noisy() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 6, (100,), generator=rng)  # the last class never occurs
    logits = 2 * torch.randn(100, 7, generator=rng)
    logits[torch.arange(100), targets] += 1
    return logits, targets


def test_scores_are_scikit_learns(noisy: tuple[torch.Tensor, torch.Tensor]):
    logits, targets = noisy
    found = scored(logits, targets)
    probs, truth, called = logits.softmax(1).double().numpy(), targets.numpy(), logits.argmax(1).numpy()
    labels = np.arange(7)
    np.testing.assert_array_equal(found.confusion, confusion_matrix(truth, called, labels=labels))
    assert found.samples == 100
    assert found.top1 == pytest.approx((truth == called).mean())
    assert found.top5 == pytest.approx(top_k_accuracy_score(truth, probs, k=5, labels=labels))
    assert found.loss == pytest.approx(log_loss(truth, probs / probs.sum(1, keepdims=True), labels=labels), rel=1e-5)
    expected = precision_recall_fscore_support(truth, called, labels=labels, zero_division=0)
    for row, values in zip(found.per_class, zip(*expected)):
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(values)
    assert found.macro_f1 == pytest.approx(expected[2][:6].mean())
    assert found.probs is not None
    np.testing.assert_allclose(found.probs, probs, rtol=1e-5)
    np.testing.assert_array_equal(found.targets, truth)
    np.testing.assert_array_equal(found.index, np.arange(100))


def test_calibration_error_by_its_definition(noisy: tuple[torch.Tensor, torch.Tensor]):
    logits, targets = noisy
    confidence, called = logits.softmax(1).max(1)
    bins = torch.ceil(confidence * 15).int()
    right = (called == targets).float()
    expected = sum(
        abs(float(right[bins == b].mean() - confidence[bins == b].mean())) * int((bins == b).sum()) / 100
        for b in bins.unique()
    )
    assert scored(logits, targets).calibration_error == pytest.approx(expected, abs=1e-6)


def test_a_perfectly_sure_and_right_network_is_calibrated():
    targets = torch.arange(7)
    found = scored(100 * torch.eye(7), targets)
    assert (found.top1, found.calibration_error) == (1.0, pytest.approx(0))


def test_top5_needs_more_than_five_classes():
    assert scored(torch.eye(3), torch.arange(3), ("a", "b", "c")).top5 is None


def test_batches_of_any_size_give_the_same(noisy: tuple[torch.Tensor, torch.Tensor]):
    one, other = scored(*noisy, step=100).to_dict(), scored(*noisy, step=1).to_dict()
    assert one.pop("loss") == pytest.approx(other.pop("loss"), rel=1e-5)
    assert one.pop("calibration_error") == pytest.approx(other.pop("calibration_error"), rel=1e-5)
    assert one == other


def test_probabilities_are_kept_on_request_only():
    evaluator = Evaluator(("a", "b"))
    evaluator.update(torch.eye(2), torch.arange(2), torch.arange(2))
    assert evaluator.result().probs is None


def test_nothing_to_evaluate():
    with pytest.raises(DataError, match="nothing to evaluate"):
        Evaluator(("a", "b")).result()


def test_outputs_that_are_not_finite():
    with pytest.raises(WeightsError, match="not finite"):
        scored(torch.full((4, 7), float("nan")), torch.zeros(4, dtype=torch.long))
