"""Regression: the loss and the metrics against plain formulas and scikit-learn."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor, nn

from corinth.predictor import RegressionEvaluation
from corinth.tasks import SequenceRegression
from corinth.tasks.kinds import KINDS


class Says(nn.Module):
    """Answers with a number that it has for each sequence, whatever that is."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.values[x[:, 0, 0].long()][:, None]


def batch(rows: Tensor, targets: Tensor) -> Any:
    inputs = SimpleNamespace(values=rows[:, None, None].float(), lengths=torch.ones(len(rows), dtype=torch.int64))
    return SimpleNamespace(inputs=inputs, targets=targets[rows], size=len(rows))


def example() -> tuple[Tensor, Tensor, float, float]:
    """Outputs in standard deviations, targets, their mean and spread."""
    generator = torch.Generator().manual_seed(0)
    targets = 50 + 7 * torch.randn(23, generator=generator)
    return torch.randn(23, generator=generator) * 2, targets, 49.0, 6.5


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_the_loss_is_over_standardised_targets(loss: Any) -> None:
    outputs, targets, mean, std = example()
    task = SequenceRegression(Says(outputs), mean=mean, std=std, loss=loss)
    standard = (targets - mean) / std
    terms = task.losses("train", batch(torch.arange(23), standard), torch.Generator())
    errors = outputs.numpy() - (targets.numpy() - mean) / std
    size = np.abs(errors)
    wanted = np.square(errors) if loss == "squared" else np.where(size < 1, size**2 / 2, size - 0.5)
    assert terms["loss"].value.item() == pytest.approx(wanted.mean(), rel=1e-5)
    assert terms["mae"].value.item() == pytest.approx(size.mean() * std, rel=1e-5)
    assert (terms["loss"].count, terms["mae"].weight) == (23, 0.0)
    terms["loss"].value.backward()
    slope = 2 * errors if loss == "squared" else np.clip(errors, -1, 1)
    np.testing.assert_allclose(task.nets["model"].values.grad.numpy(), slope / 23, atol=1e-6)  # ty: ignore


def test_metrics_over_uneven_batches_are_those_of_the_whole() -> None:
    outputs, targets, mean, std = example()
    task = SequenceRegression(Says(outputs), mean=mean, std=std)
    found = task.metrics()
    with torch.no_grad():
        for rows in torch.arange(23).split((9, 9, 5)):
            task.measure(found, batch(rows, (targets - mean) / std))
        said = task.predict(batch(torch.arange(23), targets)).numpy()
    values = {name: float(value) for name, value in found.compute().items()}
    truth = targets.numpy()
    assert values["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, said), rel=1e-5)
    assert values["mae"] == pytest.approx(sk.mean_absolute_error(truth, said), rel=1e-5)
    assert values["max_error"] == pytest.approx(sk.max_error(truth, said), rel=1e-5)
    assert values["loss"] == pytest.approx((values["rmse"] / std) ** 2, rel=1e-4)
    assert task.rank({"rmse": 1.0}) > task.rank({"rmse": 2.0})
    np.testing.assert_allclose(said, outputs.numpy() * std + mean, rtol=1e-6)


def test_an_evaluation_is_what_scikit_learn_computes() -> None:
    rng = np.random.default_rng(0)
    truth, said = rng.normal(size=30), rng.normal(size=30)
    found = RegressionEvaluation.of(said, truth, np.arange(30), "soh")
    assert found.rmse == pytest.approx(sk.root_mean_squared_error(truth, said))
    assert found.mae == pytest.approx(sk.mean_absolute_error(truth, said))
    assert found.max_error == pytest.approx(sk.max_error(truth, said))
    assert found.r2 == pytest.approx(sk.r2_score(truth, said))
    np.testing.assert_allclose(found.per_sample, np.abs(truth - said))
    assert found.score == found.rmse
    assert found.to_dict()["target"] == "soh"
    assert RegressionEvaluation.of(said, np.ones(30), np.arange(30), "soh").r2 is None


def test_what_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="std 0"):
        SequenceRegression(nn.Identity(), mean=0.0, std=0.0)
    with pytest.raises(ValueError, match="loss 'l1' is none of squared, huber"):
        SequenceRegression(nn.Identity(), mean=0.0, std=1.0, loss="l1")  # ty: ignore
    kind = KINDS["sequence-regression"]
    assert kind.lower_is_better
    assert (kind.classes, kind.share, kind.classification) == (False, False, False)
