"""Forecasts that need no network: the last value, the last season, and a line fitted from the window to the horizon."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from corinth.data.sequences.forecast import ForecastSource

PENALTIES = 10.0 ** np.arange(-4, 4)  # of the linear forecast, times the mean of the inputs' squares
AT_ONCE = 2**22  # numbers of windows that are held together

Forecaster = Callable[[np.ndarray], np.ndarray]  # positions (N,) to forecasts (N, H, K), in the data's units


def last_value(source: ForecastSource, rows: np.ndarray) -> np.ndarray:
    """Every step is as the last one was."""
    last = _steps(source, rows, np.array([-1]))
    return np.repeat(last, source.horizon, axis=1)


def last_season(source: ForecastSource, rows: np.ndarray) -> np.ndarray:
    """Every step is as the same one of the last season was, which may lie before the window; the last value where the
    series does not reach back so far."""
    back = -source.season + np.arange(source.horizon) % source.season
    there = source.origins[rows][:, 1] >= source.season
    found = last_value(source, rows)
    found[there] = _steps(source, rows[there], back)
    return found


@dataclass(frozen=True)
class Linear:
    """A ridge regression from the steps of a target's own window to those behind it, both above the window's last step
    and over the target's spread, with the same weights for all targets, fitted on training windows: NLinear of Zeng et
    al. 2023, solved in one go. The penalty is that of the least squared error on validation windows, where there are
    some."""

    source: ForecastSource
    train: np.ndarray
    val: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        weights, bias = self.fitted
        found = np.empty((len(rows), self.source.horizon, len(self.source.targets)))
        for k, spread in enumerate(self.spread):
            for start, inputs, _, last in _windows(self.source, rows, k):
                above = inputs @ weights + bias * spread
                found[start : start + len(inputs), :, k] = above + last[:, None]
        return found

    @cached_property
    def spread(self) -> np.ndarray:
        """The standard deviation of each target in the training part (K,); 1 of one that never changes."""
        there = self.source.touched(self.train)
        std = np.concatenate([v[t] for v, t in zip(self.source.series, there, strict=True)]).std(axis=0)
        std = std[list(self.source.targets)]
        return np.where(std > 0, std, 1.0)

    @cached_property
    def fitted(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights (W, H), and the bias (H,) over a target's spread."""
        width, horizon = self.source.window, self.source.horizon
        squares, products = np.zeros((width, width)), np.zeros((width, horizon))
        x_sum, y_sum = np.zeros(width), np.zeros(horizon)
        for x, y in self._all(self.train):
            squares, products = squares + x.T @ x, products + x.T @ y
            x_sum, y_sum = x_sum + x.sum(axis=0), y_sum + y.sum(axis=0)
        count = len(self.train) * len(self.source.targets)
        x_mean, y_mean = x_sum / count, y_sum / count
        values, vectors = np.linalg.eigh(squares - count * np.outer(x_mean, x_mean))
        values = values.clip(min=0)
        turned = vectors.T @ (products - count * np.outer(x_mean, y_mean))
        size = max(float(values.mean()), float(np.finfo(float).tiny))
        candidates = [vectors @ (turned / (values + penalty * size)[:, None]) for penalty in PENALTIES]
        errors = np.zeros(len(candidates))
        for x, y in self._all(self.val):
            errors += [np.square((x - x_mean) @ weights + y_mean - y).sum() for weights in candidates]
        best = candidates[int(errors.argmin())]
        return best, y_mean - x_mean @ best

    def _all(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Windows (n, W) and what is behind them (n, H), over the spread, of one target after the other."""
        for k, spread in enumerate(self.spread):
            for _, inputs, behind, _ in _windows(self.source, rows, k):
                yield inputs / spread, behind / spread


def forecasters(source: ForecastSource, splits: Mapping[str, np.ndarray]) -> dict[str, Forecaster]:
    """The three by name; the seasonal one only where there is a season."""
    found: dict[str, Forecaster] = {"last value": lambda rows: last_value(source, rows)}
    if source.season > 1:
        found["last season"] = lambda rows: last_season(source, rows)
    if len(splits["train"]):
        found["linear"] = Linear(source, splits["train"], splits["val"])
    return found


def _steps(source: ForecastSource, rows: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The targets (N, S, K) at some steps from where forecasts begin."""
    found = np.empty((len(rows), len(offsets), len(source.targets)))
    numbers, first = source.origins[rows].T
    for number, values in enumerate(source.series):
        mine = numbers == number
        found[mine] = values[first[mine][:, None] + offsets][:, :, list(source.targets)]
    return found


def _windows(
    source: ForecastSource, rows: np.ndarray, k: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Of some windows at a time, from which on, the steps of a target (n, W), those behind (n, H), both above the last
    one of the window, and that (n,)."""
    width, horizon, place = source.window, source.horizon, source.targets[k]
    size = max(1, AT_ONCE // (width + horizon))
    for start in range(0, len(rows), size):
        numbers, first = source.origins[rows[start : start + size]].T
        values = np.empty((len(first), width + horizon))
        for number, series in enumerate(source.series):
            mine = numbers == number
            values[mine] = series[first[mine][:, None] + np.arange(-width, horizon), place]
        last = values[:, width - 1].copy()
        values -= last[:, None]
        yield start, values[:, :width], values[:, width:], last
