"""Regression for its user: a number for each sequence, in the unit of the targets; rows.py has that of rows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from corinth.data import Batch, Loader, Sequences, SequenceStore, SeriesEncoding, Store
from corinth.data.collect import plural
from corinth.data.measured import Measured
from corinth.data.sequences.loose import loose_series
from corinth.data.sequences.source import MeasuredSource
from corinth.errors import DataError, UsageError
from corinth.predictor.predictor import Predictor, check_finite, check_sizes
from corinth.predictor.sequences import columns_of
from corinth.tasks import SequenceRegression
from corinth.tasks.regression import Regression


@dataclass(frozen=True)
class ValuePrediction:
    """The number that a sequence or a row was given; or `error`, why there is none."""

    name: str
    value: float | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return (
            {"name": self.name, "value": self.value} if self.error is None else {"name": self.name, "error": self.error}
        )


@dataclass(frozen=True)
class RegressionEvaluation:
    """The errors on N sequences or rows, in the unit of the targets. `per_sample` (N,) is the absolute error of each.

    `r2` is 1 - sum of squared errors / sum of squared deviations from the mean of these N targets, so 0 is as good as
    that mean and there is no lower end; None where all targets are the same. `predicted`, `targets` (N,) and `index`
    (N,), positions in the data, are in order of evaluation.
    """

    samples: int
    rmse: float
    mae: float
    max_error: float
    r2: float | None
    predicted: np.ndarray
    targets: np.ndarray
    per_sample: np.ndarray
    index: np.ndarray
    target_name: str = "target"
    classes: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> float:
        return self.rmse

    @classmethod
    def of(cls, predicted: np.ndarray, targets: np.ndarray, index: np.ndarray, name: str) -> "RegressionEvaluation":
        errors = np.abs(predicted - targets)
        spread = float(np.square(targets - targets.mean()).sum())
        return cls(
            samples=len(targets),
            rmse=float(np.sqrt(np.square(errors).mean())),
            mae=float(errors.mean()),
            max_error=float(errors.max()),
            r2=1 - float(np.square(errors).sum()) / spread if spread > 0 else None,
            predicted=predicted,
            targets=targets,
            per_sample=errors,
            index=index,
            target_name=name,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-sample arrays are left out."""
        names = ("samples", "rmse", "mae", "max_error", "r2")
        return {"target": self.target_name} | {name: getattr(self, name) for name in names} | {"dropped": []}


class Regressor(Predictor):
    """One that answers with a number in the user's unit."""

    learns: ClassVar[type[Regression]]
    takes: ClassVar[type[Measured]]  # kind of source
    store: ClassVar[Callable[..., Store]]  # of a part of the data

    @property
    def target_name(self) -> str:
        """What the number is called in the data that it was trained on."""
        return (self.data or {}).get("target_column") or "value"

    @torch.inference_mode()
    def values(self, inputs: Any) -> np.ndarray:
        """Encoded samples to numbers, float64 (B,)."""
        scale: Any = self.preprocess
        task = self.learns(self.model, mean=scale.target_mean, std=scale.target_std)
        batch = Batch(inputs.to(self.device), torch.empty(0), torch.arange(len(inputs)))
        return task.predict(batch).numpy()

    def evaluate(self, data: Any, split: str = "test", *, batch_size: int = 512) -> RegressionEvaluation:
        """Score one part of `data`, or all of it (`split="all"`), with this network's own encoding."""
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        if not isinstance(data.source, self.takes):
            several = plural(self.takes.unit)
            raise UsageError(f"{data.name} holds no {several} with a number each, which this {self.arch} needs")
        check_finite(self.model)
        encoding: Any = self.preprocess
        encoding.check_data(data)
        index: list[int] = []
        values: list[np.ndarray] = []
        for batch in Loader(type(self).store(data, split, encoding), batch_size):
            index += batch.index.tolist()
            values.append(self.values(batch.inputs))
        targets = data.source.targets[index]
        return RegressionEvaluation.of(np.concatenate(values), targets, np.array(index), data.source.target_name)


class SequenceRegressor(Regressor):
    task = SequenceRegression.name
    learns = SequenceRegression
    takes = MeasuredSource
    store = SequenceStore
    preprocess: SeriesEncoding

    def predict(self, sequences: Any | Iterable[Any], *, batch_size: int = 64) -> list[ValuePrediction]:
        """The number of each sequence: arrays (T, C), and paths of .csv files with a step a row, of .ts and .npz files
        with many; of a table with many where it has the columns of the training's. What cannot be used becomes a
        prediction with `error`; the others are not affected."""
        check_sizes(batch_size=batch_size)
        if isinstance(sequences, str | Path | Tensor | np.ndarray):
            sequences = [sequences]
        found: list[ValuePrediction] = []
        ready: list[tuple[int, Tensor]] = []
        for entry in loose_series(sequences, self.preprocess.audio_rate, columns_of(self)):
            problem = entry.error
            if problem is None:
                try:
                    ready.append((len(found), self.preprocess([entry.value])[0]))
                except DataError as error:
                    problem = str(error)
            found.append(ValuePrediction(entry.name, error=None if problem is None else f"{entry.name}: {problem}"))
        ready.sort(key=lambda pair: len(pair[1]))  # similar lengths together
        for start in range(0, len(ready), batch_size):
            places, rows = zip(*ready[start : start + batch_size], strict=True)
            for place, value in zip(places, self.values(Sequences.of(rows)).tolist(), strict=True):
                found[place] = ValuePrediction(found[place].name, value)
        return found
