"""Forecasting as a task: what the network is given and what becomes of its output, loss and metrics."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import corinth
from corinth.data import Batch, Sequences
from corinth.data.sequences.forecast_encoding import FLAT, Relative, relative_to
from corinth.tasks import Forecasting
from corinth.tasks.kinds import KINDS
from random_tensors import randomise

HORIZON, TARGETS = 3, (2, 0)


def network() -> Any:
    return randomise(corinth.create_model("lstm", input_size=3, hidden_size=5, num_classes=6))


def batch(size: int = 4, seed: int = 0) -> Batch:
    chance = torch.Generator().manual_seed(seed)
    values = torch.randn(size, 7, 3, generator=chance) * 2 + 1
    return Batch(Sequences.of(values), torch.randn(size, HORIZON, 2, generator=chance), torch.arange(size))


def by_hand(model: nn.Module, values: np.ndarray, relative: Relative) -> np.ndarray:
    """One window (W, C) to (H, K) in plain NumPy around the network."""
    taken, spread = np.zeros(3), np.ones(3)
    if relative == "last":
        taken = values[-1]
    if relative == "window":
        taken, spread = values.mean(axis=0), np.sqrt(values.var(axis=0) + FLAT)
    said = model(torch.from_numpy(((values - taken) / spread).astype(np.float32))[None])[0].detach().numpy()
    places = list(TARGETS)
    return said.reshape(HORIZON, 2) * spread[places] + taken[places]


@pytest.mark.parametrize("relative", ["none", "last", "window"])
@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_forecasts_and_losses_by_hand(relative: Relative, loss: Any) -> None:
    model, some = network().eval(), batch()
    task = Forecasting(model, horizon=HORIZON, targets=TARGETS, relative=relative, loss=loss)
    expected = np.stack([by_hand(model, window.double().numpy(), relative) for window in some.inputs.values])
    found = task.predict(some)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    error = np.abs(expected - some.targets.numpy())
    terms = task.losses("train", some, torch.Generator())
    huber = np.where(error < 1, error**2 / 2, error - 0.5).mean()
    assert terms["loss"].value.item() == pytest.approx(
        {"squared": (error**2).mean(), "absolute": error.mean(), "huber": huber}[loss], rel=1e-4
    )
    assert (terms["mse"].weight, terms["mae"].weight, terms["loss"].count) == (0.0, 0.0, 4)
    metrics = task.metrics()
    for part in (
        Batch(some.inputs.tensor_split(2)[i], some.targets.tensor_split(2)[i], some.index[:2]) for i in (0, 1)
    ):
        task.measure(metrics, part)
    values = metrics.compute()
    assert values["mse"].item() == pytest.approx((error**2).mean(), rel=1e-4)
    assert values["mae"].item() == pytest.approx(error.mean(), rel=1e-4)
    terms["loss"].value.backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


def test_the_level_is_taken_away_and_put_back() -> None:
    """What is added to a whole window is added to its forecast, and with "window" so is what it is multiplied with."""
    model = network()
    some = batch()
    lifted = Batch(Sequences.of(some.inputs.values + 50), some.targets, some.index)
    for relative in ("last", "window"):
        task = Forecasting(model, horizon=HORIZON, targets=TARGETS, relative=relative)
        torch.testing.assert_close(task.predict(lifted), task.predict(some) + 50, rtol=1e-4, atol=1e-4)
    wide = Batch(Sequences.of(some.inputs.values * 3), some.targets, some.index)
    torch.testing.assert_close(task.predict(wide), task.predict(some) * 3, rtol=1e-3, atol=1e-3)
    flat = torch.full((1, 7, 3), 2.0)
    inputs, taken, spread = relative_to(flat, "window")
    assert inputs.abs().max() == 0
    assert taken.flatten().tolist() == [2.0] * 3
    assert bool(spread.isfinite().all())


def test_other_windows_of_a_batch_play_no_part() -> None:
    task = Forecasting(network(), horizon=HORIZON, targets=TARGETS)
    some = batch()
    alone = Batch(Sequences.of(some.inputs.values[1:2]), some.targets[1:2], some.index[1:2])
    torch.testing.assert_close(task.predict(alone)[0], task.predict(some)[1])


def test_its_kind() -> None:
    task = Forecasting(network(), horizon=HORIZON, targets=TARGETS)
    kind = KINDS[task.name]
    assert (kind.unit, kind.lower_is_better, kind.share, kind.classes) == ("window", True, False, False)
    assert task.rank({"mse": 1.0}) > task.rank({"mse": 2.0})
    assert task.random_targets(2, (7,)).shape == (2, HORIZON, 2)
    with pytest.raises(ValueError, match="loss 'cubed' is none of squared, huber, absolute"):
        Forecasting(network(), horizon=1, targets=(0,), loss="cubed")  # ty: ignore
