"""Rows of tables for their user: rows in, named classes or numbers out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from corinth.data.rows.encoding import RowEncoding
from corinth.data.rows.source import MeasuredRows, RowData
from corinth.data.rows.store import RowStore
from corinth.data.tables import read_table
from corinth.errors import DataError, UsageError
from corinth.predictor.classes import Prediction, ranked, score
from corinth.predictor.evaluation import Evaluation
from corinth.predictor.predictor import Answer, Predictor, check_sizes
from corinth.predictor.regression import Regressor, ValuePrediction
from corinth.tasks import TabularRegression

Row = Mapping[str, Any]
A = TypeVar("A", bound=Answer)


class RowClassifier(Predictor):
    task = "tabular-classification"
    preprocess: RowEncoding

    def predict(
        self, rows: Row | str | Path | Iterable[Row | str | Path], *, batch_size: int = 64, top: int = 5
    ) -> list[Prediction]:
        """The `top` likeliest classes of each row: mappings of columns to values, or paths of tables.

        An empty cell (None in a mapping) is what it was in training. A row that cannot be used becomes a Prediction
        with `error`; the others are not affected.
        """

        def ask(names: Sequence[str], inputs: Tensor) -> list[Prediction]:
            return ranked(names, self.probabilities(inputs), self.classes, top)

        def fail(name: str, reason: str) -> Prediction:
            return Prediction(name, error=reason)

        return _answers(rows, self.preprocess, batch_size, ask, fail)

    @torch.inference_mode()
    def probabilities(self, inputs: Tensor) -> Tensor:
        """Encoded rows (B, F) to class probabilities (B, K) on the CPU."""
        return self.model(inputs.to(self.device)).float().softmax(dim=1).cpu()

    def evaluate(
        self, data: RowData, split: str = "test", *, batch_size: int = 512, keep_probs: bool = True
    ) -> Evaluation:
        """Score one part of `data`, or all of it (`split="all"`), with this network's own encoding.

        Classes are matched by name; a label this network never learnt is a `DataError`.
        """
        if not isinstance(data, RowData):
            raise UsageError(f"{data.name} holds no rows of a table, which this {self.arch} was trained on")
        self.preprocess.check_data(data)
        return score(
            data,
            split,
            lambda: RowStore(data, split, self.preprocess),
            self.model,
            arch=self.arch,
            classes=self.classes,
            batch_size=batch_size,
            keep_probs=keep_probs,
            device=self.device,
        )


class RowRegressor(Regressor):
    task = TabularRegression.name
    learns = TabularRegression
    takes = MeasuredRows
    store = RowStore
    preprocess: RowEncoding

    def predict(
        self, rows: Row | str | Path | Iterable[Row | str | Path], *, batch_size: int = 64
    ) -> list[ValuePrediction]:
        """The number of each row, as `RowClassifier.predict` takes them. A row that cannot be used becomes a prediction
        with `error`; the others are not affected."""

        def ask(names: Sequence[str], inputs: Tensor) -> list[ValuePrediction]:
            values = self.values(inputs).tolist()
            return [ValuePrediction(name, value) for name, value in zip(names, values, strict=True)]

        def fail(name: str, reason: str) -> ValuePrediction:
            return ValuePrediction(name, error=reason)

        return _answers(rows, self.preprocess, batch_size, ask, fail)


def _answers(
    rows: Row | str | Path | Iterable[Row | str | Path],
    encoding: RowEncoding,
    batch_size: int,
    ask: Callable[[Sequence[str], Tensor], Sequence[A]],
    fail: Callable[[str, str], A],
) -> list[A]:
    """One answer for each row, in order: `ask(names, inputs)` answers for a batch, `fail(name, reason)` for one that
    cannot be used."""
    check_sizes(batch_size=batch_size)
    given: Any = [rows] if isinstance(rows, str | Path | Mapping) else rows
    found: list[A | None] = []
    ready: list[tuple[int, str, Tensor]] = []
    for name, row in _listed(given):
        try:
            if isinstance(row, Exception):
                raise row
            ready.append((len(found), name, encoding.of_rows([row])[0]))
            found.append(None)
        except (DataError, UsageError) as error:
            reason = str(error)
            found.append(fail(name, reason if reason.startswith(name) else f"{name}: {reason}"))
    for start in range(0, len(ready), batch_size):
        places, names, inputs = zip(*ready[start : start + batch_size], strict=True)
        for place, answer in zip(places, ask(names, torch.stack(inputs)), strict=True):
            found[place] = answer
    return [answer for answer in found if answer is not None]


def _listed(given: Iterable[Row | str | Path]) -> Iterator[tuple[str, Row | Exception]]:
    """Rows by a name for people; why a table could not be read."""
    for number, item in enumerate(given):
        if isinstance(item, Mapping):
            yield f"row {number}", item
            continue
        if not isinstance(item, str | Path):
            raise UsageError(f"a row is a mapping of columns to values, or a table's path, not {type(item).__name__}")
        path = Path(item)
        try:
            table = read_table(path)
        except OSError as error:
            yield str(path), DataError(f"{path} cannot be read ({error.strerror})")
            continue
        except (DataError, UsageError) as error:
            yield str(path), error
            continue
        count = len(next(iter(table.columns.values())))
        for row in range(count):
            yield table.place(row), {name: cells[row] for name, cells in table.columns.items()}
