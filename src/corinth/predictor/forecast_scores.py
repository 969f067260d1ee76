"""Scores of forecasts, of a network and of what needs none, on the same windows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corinth.data.sequences.forecast import ForecastSource
from corinth.data.sequences.forecast_encoding import ForecastEncoding

AT_ONCE = 2**22  # forecast numbers that are held together


@dataclass(frozen=True)
class ForecastScore:
    """Errors of forecasts over all windows. `mse` and `mae` are of standardised numbers, means over windows, steps and
    targets; `by_lead` (H,) is the MSE of each step ahead, `by_window` (N,) of each window. `unit_rmse` and `unit_mae`
    (K,) are those of each target in its own unit."""

    mse: float
    mae: float
    by_lead: np.ndarray
    by_window: np.ndarray
    target_mse: np.ndarray  # (K,)
    target_mae: np.ndarray  # (K,)
    unit_rmse: np.ndarray  # (K,)
    unit_mae: np.ndarray  # (K,)


@dataclass(frozen=True)
class ForecastEvaluation:
    """How a network forecasts N windows, with the `baselines` beside it.

    Windows one step apart share nearly all their steps, so as samples they would be far too many. `per_sample` and
    `index`, by which networks are compared, are therefore of windows that have no step to forecast in common: from the
    first one on, each the next behind the last.
    """

    network: ForecastScore
    baselines: Mapping[str, ForecastScore]
    target_names: tuple[str, ...]
    samples: int
    per_sample: np.ndarray
    index: np.ndarray
    classes: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> float:
        """MSE of standardised numbers, over all windows."""
        return self.network.mse

    @property
    def mse(self) -> float:
        return self.network.mse

    @property
    def mae(self) -> float:
        return self.network.mae

    @property
    def beaten_by(self) -> tuple[str, ...]:
        """The baselines with a lower MSE."""
        return tuple(name for name, score in self.baselines.items() if score.mse < self.mse)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what there is of every window is left out."""
        return {
            "samples": self.samples,
            "mse": self.mse,
            "mae": self.mae,
            "windows_apart": len(self.index),
            "targets": {
                name: {
                    "mse": float(self.network.target_mse[k]),
                    "mae": float(self.network.target_mae[k]),
                    "unit_rmse": float(self.network.unit_rmse[k]),
                    "unit_mae": float(self.network.unit_mae[k]),
                }
                for k, name in enumerate(self.target_names)
            },
            "mse_by_lead": self.network.by_lead.tolist(),
            "baselines": {name: {"mse": score.mse, "mae": score.mae} for name, score in self.baselines.items()},
            "dropped": [],
        }


def which_need_none(names: Sequence[str]) -> str:
    """Baselines in a sentence: "last season, which needs no network"."""
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    return f"{listed}, which {'need' if len(names) > 1 else 'needs'} no network"


class Tally:
    """Forecasts of the windows at `rows`, scored a stretch at a time as they are added by name."""

    def __init__(self, source: ForecastSource, encoding: ForecastEncoding, rows: np.ndarray) -> None:
        self.source, self.encoding, self.rows = source, encoding, rows
        self.found: dict[str, ForecastScore] = {}

    def add(self, name: str, forecast: Callable[[np.ndarray], np.ndarray]) -> None:
        """`forecast` makes of positions (n,) forecasts (n, H, K) in the targets' units."""
        self.found[name] = score(self.source, self.encoding, self.rows, forecast)

    def result(self) -> ForecastEvaluation:
        """With the network's own, which was added as such."""
        rest = dict(self.found)
        own = rest.pop("network")
        apart = self.source.apart(self.rows)
        return ForecastEvaluation(
            network=own,
            baselines=rest,
            target_names=self.source.target_names,
            samples=len(self.rows),
            per_sample=own.by_window[np.searchsorted(self.rows, apart)],
            index=apart,
        )


def score(
    source: ForecastSource,
    encoding: ForecastEncoding,
    rows: np.ndarray,
    forecast: Callable[[np.ndarray], np.ndarray],
) -> ForecastScore:
    """Of the windows at `rows`, sorted; a target's error over its spread in the training part is standardised."""
    std = np.array(encoding.std)[list(encoding.targets)]
    absolute, squared, leads, windows = np.zeros(len(std)), np.zeros(len(std)), np.zeros(source.horizon), []
    size = max(1, AT_ONCE // encoding.outputs)
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        error = forecast(some) - np.stack([source.target(int(i)) for i in some])  # (n, H, K)
        absolute += np.abs(error).sum(axis=(0, 1))
        squared += np.square(error).sum(axis=(0, 1))
        standard = np.square(error / std)
        leads += standard.mean(axis=2).sum(axis=0)
        windows.append(standard.mean(axis=(1, 2)))
    count = len(rows) * source.horizon
    return ForecastScore(
        mse=float((squared / np.square(std)).mean() / count),
        mae=float((absolute / std).mean() / count),
        by_lead=leads / len(rows),
        by_window=np.concatenate(windows),
        target_mse=squared / np.square(std) / count,
        target_mae=absolute / std / count,
        unit_rmse=np.sqrt(squared / count),
        unit_mae=absolute / count,
    )
