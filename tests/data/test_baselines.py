"""Forecasts without a network against plain NumPy."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from corinth.data import open_data
from corinth.data.sequences.baselines import PENALTIES, Linear, forecasters, last_season, last_value
from corinth.data.sequences.forecast import ForecastSource
from series_tables import hours, wave, write_series


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ForecastSource:
    values = np.concatenate([wave(100), wave(90, seed=1) * [1, 30]])
    path = write_series(
        tmp_path_factory.mktemp("t") / "two.csv", values, hours(100) + hours(90), shop=["x"] * 100 + ["y"] * 90
    )
    found = open_data(path, horizon=5, window=8, season=12, group_column="shop", val_share=0.2, test_share=0.2).source
    assert isinstance(found, ForecastSource)
    return found


def naively(source: ForecastSource, position: int) -> tuple[np.ndarray, int]:
    number, row = source.origins[position].tolist()
    return source.series[number], row


def test_the_last_value_and_the_last_season(source: ForecastSource) -> None:
    rows = np.array([0, 7, 60, 100, len(source) - 1])
    for found, said in ((last_value(source, rows), "value"), (last_season(source, rows), "season")):
        assert found.shape == (5, 5, 2)
        for i, position in enumerate(rows.tolist()):
            series, row = naively(source, position)
            for ahead in range(5):
                back = row + ahead - 12 if said == "season" and row >= 12 else row - 1
                np.testing.assert_array_equal(found[i, ahead], series[back])


def test_a_season_that_is_shorter_than_the_horizon_repeats(tmp_path: Path) -> None:
    path = write_series(tmp_path / "s.csv", np.arange(60.0)[:, None])
    short = open_data(path, horizon=5, window=8, season=2).source
    assert isinstance(short, ForecastSource)
    np.testing.assert_array_equal(last_season(short, np.array([0]))[0, :, 0], [6, 7, 6, 7, 6])


def test_the_linear_forecast_is_the_best_ridge_regression(source: ForecastSource, tmp_path: Path) -> None:
    splits = {"train": np.arange(0, 60), "val": np.arange(70, 80), "test": np.arange(90, 100)}
    linear = Linear(source, splits["train"], splits["val"])
    rows = np.concatenate([splits["test"], [len(source) - 1]])  # of both series
    spread = np.concatenate([s[t] for s, t in zip(source.series, source.touched(splits["train"]))]).std(axis=0)

    def table(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = [], []
        for k in range(2):
            for position in positions.tolist():
                past, behind = source.sequence(position)[:, k], source.target(position)[:, k]
                x.append((past - past[-1]) / spread[k])
                y.append((behind - past[-1]) / spread[k])
        return np.array(x), np.array(y)

    x, y = table(splits["train"])
    size = np.square(x - x.mean(axis=0)).sum() / 8
    fits = [Ridge(alpha=penalty * size, solver="svd").fit(x, y) for penalty in PENALTIES]
    val_x, val_y = table(splits["val"])
    best = min(fits, key=lambda fit: np.square(fit.predict(val_x) - val_y).sum())
    test_x, _ = table(rows)
    expected = best.predict(test_x).reshape(2, len(rows), 5).transpose(1, 2, 0) * spread
    expected += np.stack([source.sequence(int(i))[-1] for i in rows])[:, None]
    np.testing.assert_allclose(linear(rows), expected, rtol=1e-5)


def test_nothing_but_the_training_part_is_fitted(source: ForecastSource) -> None:
    """Changing what comes later changes no weight."""
    train, val = np.arange(0, 50), np.empty(0, dtype=np.int64)
    weights, bias = Linear(source, train, val).fitted
    end = int(source.origins[train[-1], 1]) + 5
    changed = tuple(series.copy() for series in source.series)
    changed[0][end:] += 100
    changed[1][:] += 100
    other = dataclasses.replace(source, series=changed)
    again, shift = Linear(other, train, val).fitted
    np.testing.assert_array_equal(weights, again)
    np.testing.assert_array_equal(bias, shift)


def test_a_season_of_one_step_is_the_last_value(tmp_path: Path) -> None:
    data = open_data(write_series(tmp_path / "s.csv", wave(60)), horizon=5, window=8, season=1)
    assert list(forecasters(data.source, data.splits)) == ["last value", "linear"]  # ty: ignore
