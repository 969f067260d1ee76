"""Forecasting for its user: the end of a series in, what comes next out, with its times and in its units."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corinth.data import Batch, Loader, SequenceData, Sequences
from corinth.data.collect import counted
from corinth.data.sequences.baselines import forecasters
from corinth.data.sequences.forecast import ForecastSource
from corinth.data.sequences.forecast_columns import Columns, as_given, find_columns
from corinth.data.sequences.forecast_encoding import ForecastEncoding
from corinth.data.sequences.forecast_store import ForecastStore
from corinth.data.sequences.forecast_tables import Steps, Unread, each_series
from corinth.data.tables import TABLE_SUFFIXES, read_table
from corinth.errors import DataError, UsageError
from corinth.predictor.forecast_scores import ForecastEvaluation, Tally
from corinth.predictor.predictor import Predictor, check_finite, check_sizes
from corinth.tasks import Forecasting


@dataclass(frozen=True)
class ForecastPrediction:
    """The steps behind a series: `values` (H, K) of the targets in their units, at `times`, which a bare array has none
    of; or `error`, why there are none."""

    name: str
    time_column: str = "time"
    target_names: tuple[str, ...] = ()
    group: Mapping[str, str] | None = None
    times: tuple[str, ...] = ()
    values: np.ndarray | None = None
    error: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (*(self.group or {}), self.time_column, *self.target_names)

    def rows(self) -> list[dict[str, Any]]:
        """A row a step, as the table has it."""
        assert self.values is not None
        times = self.times or tuple(f"+{ahead}" for ahead in range(1, len(self.values) + 1))
        return [
            {**(self.group or {}), self.time_column: time, **dict(zip(self.target_names, values.tolist()))}
            for time, values in zip(times, self.values, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name} | ({"error": self.error} if self.error is not None else {"forecast": self.rows()})


class Forecaster(Predictor):
    task = Forecasting.name
    preprocess: ForecastEncoding

    def predict(self, histories: Any | Iterable[Any], *, batch_size: int = 64) -> list[ForecastPrediction]:
        """What comes behind each history: paths of tables like that of the training, each series in them, and arrays
        (T, C) of the channels in their order. Only the last window of each is read. What cannot be used becomes a
        prediction with `error`; the others are not affected."""
        check_sizes(batch_size=batch_size)
        if isinstance(histories, str | Path | np.ndarray | Tensor):
            histories = [histories]
        if not isinstance(histories, Iterable):
            raise UsageError(
                f"{histories!r} is no history; a history is the path of a table, or an array (steps, channels)"
            )
        found: list[ForecastPrediction] = []
        ready: list[tuple[int, np.ndarray]] = []
        for number, item in enumerate(histories):
            for answer, values in self._read(item, number):
                if answer.error is None and values is not None:
                    if (problem := self._unusable(values)) is None:
                        ready.append((len(found), values[-self.preprocess.window :]))
                    else:
                        answer = replace(answer, times=(), error=f"{answer.name}: {problem}")
                found.append(answer)
        for start in range(0, len(ready), batch_size):
            places, windows = zip(*ready[start : start + batch_size], strict=True)
            inputs = Sequences.of(torch.stack(self.preprocess(windows)))
            forecasts = self.preprocess.in_unit(self._standardised(inputs))
            for place, values in zip(places, forecasts, strict=True):
                found[place] = replace(found[place], values=values)
        return found

    def _read(self, item: Any, number: int) -> list[tuple[ForecastPrediction, np.ndarray | None]]:
        names = self.preprocess.target_names
        if not isinstance(item, str | Path):
            answer = ForecastPrediction(f"series {number}", target_names=names)
            try:
                values = np.asarray(item.detach().cpu() if isinstance(item, Tensor) else item, dtype=np.float64)
            except (TypeError, ValueError):
                return [(replace(answer, error=f"{answer.name}: holds no numbers, or rows of unequal lengths"), None)]
            return [(answer, values[:, None] if values.ndim == 1 else values)]
        path = Path(item)
        try:
            if not path.exists():
                raise DataError(f"{path}: there is no such file")
            if path.suffix.lower() not in TABLE_SUFFIXES:
                raise DataError(f"{path}: a history is a table with a row a step ({', '.join(TABLE_SUFFIXES)})")
            table = read_table(path)
            known = self.data or {}
            columns = as_given(known, self.preprocess.channel_names, names)
            its = find_columns(table, columns, targets=False)
            series = each_series(table, its, known.get("missing") or "refuse")
        except (DataError, UsageError, OSError) as error:
            return [(ForecastPrediction(str(path), target_names=names, error=str(error)), None)]
        return [self._asked(path, its, one) for one in series]

    def _asked(self, path: Path, its: Columns, one: Steps | Unread) -> tuple[ForecastPrediction, np.ndarray | None]:
        """A series of a table with the times that are asked for, or why it cannot be gone on with."""
        answer = ForecastPrediction(
            f"{path}, {one.name}" if one.name else str(path),
            time_column=its.time_name,
            target_names=self.preprocess.target_names,
            group=dict(zip(its.group, one.group, strict=True)),
        )
        if isinstance(one, Unread):
            return replace(answer, error=str(one.error)), None
        if not one.timed:
            why = "has a single row, which does not say how far apart steps are; give a longer history"
            return replace(answer, error=f"{answer.name}: {why}"), None
        try:
            self.preprocess.check_step(one.clock.said, answer.name)
        except DataError as error:
            return replace(answer, error=str(error)), None
        steps = len(one.values)
        clock = one.clock.at_month_ends(steps) if self.preprocess.month_end else one.clock
        times = tuple(clock.text(place) for place in range(steps, steps + self.preprocess.horizon))
        return replace(answer, times=times), one.values

    def _unusable(self, values: np.ndarray) -> str | None:
        need = self.preprocess
        if values.ndim != 2 or values.shape[1] != need.width:
            return f"a history here is (steps, {need.width}) numbers, and this one is {values.shape}"
        if len(values) < need.window:
            have = counted(len(values), "step")
            return f"has {have}, and the network looks back over {need.window}; give a longer history"
        if not np.isfinite(values[-need.window :]).all():
            return "has a missing value among the steps that the network looks back over"
        return None

    @torch.inference_mode()
    def _standardised(self, inputs: Sequences) -> np.ndarray:
        """Windows to forecasts (B, H, K), float64."""
        own = self.preprocess
        task = Forecasting(self.model, horizon=own.horizon, targets=own.targets, relative=own.relative)
        batch = Batch(inputs.to(self.device), torch.empty(0), torch.arange(len(inputs)))
        return task.predict(batch).cpu().double().numpy()  # some devices have no float64

    def forecast(self, data: SequenceData, positions: np.ndarray, *, batch_size: int = 512) -> np.ndarray:
        """Forecasts (N, H, K) of some windows of data, in the targets' units."""
        loader = Loader(ForecastStore(data, positions, self.preprocess), batch_size)
        return self.preprocess.in_unit(np.concatenate([self._standardised(batch.inputs) for batch in loader]))

    def evaluate(self, data: SequenceData, split: str = "test", *, batch_size: int = 512) -> ForecastEvaluation:
        """Score all windows of one part of `data`, or of all of it (`split="all"`), and what needs no network beside.
        The linear forecast is fitted on the data's own training part, so of all of it there is none."""
        rows = data.positions(split)
        source = data.source
        if not len(rows):
            raise DataError(f"the {split} part of {data.name} has no window with all its steps in it; choose another")
        if not isinstance(source, ForecastSource):
            raise UsageError(f"{data.name} holds no series to forecast, which this {self.arch} needs")
        self.preprocess.check_data(data)
        check_finite(self.model)
        tally = Tally(source, self.preprocess, rows)
        tally.add("network", lambda some: self.forecast(data, some, batch_size=batch_size))
        for name, forecast in forecasters(source, data.splits).items():
            if split != "all" or name != "linear":
                tally.add(name, forecast)
        return tally.result()
