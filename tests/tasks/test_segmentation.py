"""Semantic segmentation: what the loss is, what is ignored, IoU and Dice by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score
from torch import Tensor, nn

from corinth.data import Batch
from corinth.tasks import SemanticSegmentation
from corinth.tasks.segmentation import MaskScores, confusion, overlaps

CLASSES = ("sky", "road", "car")


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def batch() -> Batch:
    draw = torch.Generator().manual_seed(0)
    targets = torch.randint(3, (2, 4, 6), generator=draw).to(torch.uint8)
    targets[0, :2] = 255
    return Batch(torch.randn(2, 1, 4, 6, generator=draw), targets, torch.arange(2))


def task(**options: Any) -> SemanticSegmentation:
    torch.manual_seed(0)
    return SemanticSegmentation(nn.Conv2d(1, 3, 1), CLASSES, **options)


def by_hand(logits: Tensor, targets: Tensor, weights: Tensor) -> float:
    means = []
    for scores, ids in zip(logits, targets.tolist()):
        losses = []
        for y, row in enumerate(ids):
            for x, label in enumerate(row):
                if label != 255:
                    losses.append(-scores[:, y, x].log_softmax(0)[label].item() * weights[label].item())
        means.append(sum(losses) / len(losses) if losses else 0.0)
    return sum(means) / len(means)


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0)])
def test_the_loss_is_the_mean_over_images_of_the_mean_over_pixels(batch: Batch, weights: Any) -> None:
    segmentation = task(class_weights=weights)
    terms = segmentation.losses("train", batch, rng())
    logits = segmentation.nets["model"](batch.inputs)
    want = by_hand(logits, batch.targets, torch.tensor(weights or (1.0,) * 3))
    assert terms["loss"].value.item() == pytest.approx(want, rel=1e-5)
    assert terms["loss"].count == 2
    counted = batch.targets != 255
    right = (logits.argmax(1) == batch.targets)[counted].float().mean()
    torch.testing.assert_close(terms["pixel_accuracy"].value, right)
    assert terms["pixel_accuracy"].weight == 0


def test_ignored_pixels_have_no_gradient_and_an_image_of_them_no_loss(batch: Batch) -> None:
    segmentation = task()
    logits = torch.randn(2, 3, 4, 6, requires_grad=True)
    segmentation.cross_entropy(logits, batch.targets).backward()
    assert logits.grad is not None
    assert not logits.grad[0, :, :2].any()
    assert logits.grad[0, :, 2:].any()
    nothing = segmentation.cross_entropy(logits, torch.full_like(batch.targets, 255))
    assert nothing.item() == 0
    terms = segmentation.losses("train", Batch(batch.inputs, torch.full_like(batch.targets, 255), batch.index), rng())
    assert terms["pixel_accuracy"].value.item() == 0


def test_metrics_agree_with_scikit_learn(batch: Batch) -> None:
    segmentation = task()
    metrics = segmentation.metrics()
    segmentation.measure(metrics, batch)
    halves = segmentation.metrics()
    for i in (0, 1):
        segmentation.measure(halves, Batch(batch.inputs[i : i + 1], batch.targets[i : i + 1], batch.index[i : i + 1]))
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert {name: float(value) for name, value in halves.compute().items()} == pytest.approx(found)
    logits = segmentation.predict(batch).logits
    assert logits.shape == (2, 3, 4, 6)
    counted = (batch.targets != 255).numpy()
    truth, called = batch.targets.numpy()[counted], logits.argmax(1).numpy()[counted]
    assert found["miou"] == pytest.approx(jaccard_score(truth, called, average="macro"))
    assert found["dice"] == pytest.approx(f1_score(truth, called, average="macro"))
    assert found["pixel_accuracy"] == pytest.approx((truth == called).mean())
    plain = F.cross_entropy(logits, batch.targets.long(), ignore_index=255)
    assert found["loss"] == pytest.approx(plain.item(), rel=1e-6)
    assert segmentation.rank(found) == (found["miou"], -found["loss"])


def test_confusion_and_overlaps() -> None:
    draw = np.random.default_rng(0)
    truth, called = draw.integers(0, 3, 200), draw.integers(0, 3, 200)
    counts = confusion(torch.tensor(called), torch.tensor(truth), 3)
    assert counts.tolist() == confusion_matrix(truth, called).tolist()
    iou, dice = overlaps(torch.tensor([[2, 1, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    assert iou[:2].tolist() == pytest.approx([2 / 3, 3 / 4])
    assert dice[:2].tolist() == pytest.approx([4 / 5, 6 / 7])
    assert iou[2:].isnan().all()
    assert dice[2:].isnan().all()


def test_a_class_that_is_only_called_counts_as_missed() -> None:
    scores = MaskScores(3)
    logits = F.one_hot(torch.tensor([[[0, 2]]]), 3).permute(0, 3, 1, 2).float()
    scores.update(logits, torch.tensor([[[0, 0]]], dtype=torch.uint8))
    found = scores.compute()
    assert found["miou"].item() == pytest.approx((0.5 + 0) / 2)
    assert found["pixel_accuracy"].item() == 0.5
    empty = MaskScores(3)
    empty.update(logits, torch.full((1, 1, 2), 255, dtype=torch.uint8))
    assert math.isnan(empty.compute()["miou"].item())


def test_made_up_targets() -> None:
    targets = task().random_targets(2, (4, 6))
    assert targets.shape == (2, 4, 6)
    assert targets.dtype == torch.uint8
    assert set(targets.unique().tolist()) == {0, 1, 2}


def test_one_weight_a_class() -> None:
    with pytest.raises(ValueError, match="2 class weights for 3 classes; give one a class"):
        task(class_weights=(1.0, 2.0))
