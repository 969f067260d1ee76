"""The one path from a row of a table to a network's input; it belongs to the weights and is saved with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from corinth.data.measured import target_scale
from corinth.data.rows.reading import read_cell, read_word
from corinth.data.rows.source import MeasuredRows, RowData, RowSource
from corinth.errors import DataError, UsageError

CONSTANT = 1e-12  # spread of a column over its largest value, up to which it is rounding


@dataclass(frozen=True, kw_only=True)
class RowEncoding:
    """Numbers to zero mean and unit spread, an empty cell to 0; words to one input for each that training had, all of
    them 0 for any other; an input more for each column of numbers that had empty cells, 1 where the cell is empty."""

    numbers: tuple[str, ...]  # names of the columns
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gaps: tuple[bool, ...]  # which columns of numbers had empty cells
    words: tuple[str, ...]  # names of the columns
    known: tuple[tuple[str, ...], ...]  # the words of each
    target_mean: float | None = None  # of numbers to be predicted, in the training part
    target_std: float | None = None
    kind: ClassVar[str] = "rows"

    @property
    def num_inputs(self) -> int:
        return len(self.numbers) + sum(self.gaps) + sum(map(len, self.known))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.num_inputs,)

    def __call__(self, numbers: np.ndarray, words: np.ndarray) -> Tensor:
        """(N, P) numbers with NaN for what is empty, and (N, Q) words, to float32 (N, F)."""
        empty = np.isnan(numbers)
        scaled = np.where(empty, 0.0, (numbers - np.array(self.mean)) / np.array(self.std))
        marks = empty[:, np.array(self.gaps, dtype=bool)]
        ones = [words[:, [i]] == np.array([known], dtype=object) for i, known in enumerate(self.known)]
        parts = [part.astype(np.float32) for part in (scaled, marks, *ones)]
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def encode(self, source: RowSource, rows: np.ndarray) -> Tensor:
        """Of a source that has the columns, in whatever order; others do nothing. A cell that is no number where the
        network needs one is a `DataError`."""
        numbers = [self._numbers(source, name)[rows] for name in self.numbers]
        words = [self._words(source, name)[rows] for name in self.words]
        return self(_columns(numbers, len(rows)), _columns(words, len(rows)))

    def check_data(self, data: RowData) -> None:
        """Data that lack a column, or have words where the network needs numbers, are a `DataError`."""
        if lacking := [name for name in (*self.numbers, *self.words) if name not in data.source.cells]:
            raise DataError(
                f"{data.name} has no column {lacking[0]!r}; the network was trained on "
                f"{', '.join(map(repr, (*self.numbers, *self.words)))}"
            )
        for name in self.numbers:
            self._numbers(data.source, name)

    def _numbers(self, source: RowSource, name: str) -> np.ndarray:
        if name in source.number_names:
            return source.numbers[:, source.number_names.index(name)]
        values = [read_cell(cell) for cell in source.cells[name]]
        odd = next((i for i, value in enumerate(values) if value is None or np.isinf(value)), None)
        if odd is not None:
            raise DataError(
                f"{source.places[odd]}: column {name!r} is {source.cells[name][odd]!r}, and the network was trained on "
                "numbers there"
            )
        return np.array(values, dtype=np.float64)

    def _words(self, source: RowSource, name: str) -> np.ndarray:
        if name in source.word_names:
            return source.words[:, source.word_names.index(name)]
        return np.array([read_word(cell) for cell in source.cells[name]], dtype=object)

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> Tensor:
        """Of rows by column, as a person gives them; a column that is missing is a `DataError`, others do nothing."""
        numbers = np.array([[self._number(row, name) for name in self.numbers] for row in rows], dtype=np.float64)
        words = np.array([[read_word(str(self._cell(row, name))) for name in self.words] for row in rows], dtype=object)
        return self(numbers.reshape(len(rows), -1), words.reshape(len(rows), -1))

    def _cell(self, row: Mapping[str, Any], name: str) -> Any:
        if name not in row:
            raise DataError(f"there is no column {name!r}; the network needs {', '.join((*self.numbers, *self.words))}")
        return "" if row[name] is None else row[name]

    def _number(self, row: Mapping[str, Any], name: str) -> float:
        cell = self._cell(row, name)
        value = read_cell(str(cell).strip())
        if value is None or np.isinf(value):
            raise DataError(f"column {name!r} is {cell!r}, and the network needs a number there, or nothing")
        return value

    def random_inputs(self, size: int) -> Tensor:
        """Made-up inputs, to time and to measure a training step with."""
        return torch.randn(size, self.num_inputs)

    def to_dict(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        lists = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"kind": self.kind} | lists | {"known": [list(words) for words in self.known]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RowEncoding":
        """The inverse of `to_dict`; an unknown or missing key is a `UsageError`."""
        rest = {name: value for name, value in values.items() if name != "kind"}
        names = {field.name for field in fields(cls)}
        if set(rest) | {"target_mean", "target_std"} != names:
            raise UsageError(f"an encoding of rows has {', '.join(sorted(names))}, not {', '.join(sorted(rest))}")
        rest["known"] = tuple(map(tuple, rest["known"]))
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in rest.items()}
        return cls(**given)

    @classmethod
    def measured(cls, data: RowData) -> "RowEncoding":
        """Mean, spread and words of the training part alone; a constant column is only centred."""
        source, rows = data.source, data.positions("train")
        numbers, words = source.numbers[rows], source.words[rows]
        empty = np.isnan(numbers)
        counts = np.maximum((~empty).sum(axis=0), 1)
        filled = np.where(empty, 0.0, numbers)
        mean = filled.sum(axis=0) / counts
        spread = np.sqrt((np.where(empty, 0.0, numbers - mean) ** 2).sum(axis=0) / counts)
        largest = np.abs(filled).max(axis=0, initial=0.0)
        return cls(
            numbers=source.number_names,
            mean=tuple(mean.tolist()),
            std=tuple(np.where(spread <= CONSTANT * largest, 1.0, spread).tolist()),
            gaps=tuple(empty.any(axis=0).tolist()),
            words=source.word_names,
            known=tuple(tuple(sorted(set(column) - {""})) for column in words.T),
            **(target_scale(data) if isinstance(source, MeasuredRows) else {}),
        )


def _columns(columns: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """(N, columns), also of none."""
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0))
