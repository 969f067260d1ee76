"""Rows of a table with their labels, by position."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from corinth.data.dataset import DataSet
from corinth.data.measured import Measured
from corinth.data.source import number_groups

CLASSIFICATION, REGRESSION = "tabular-classification", "tabular-regression"


@dataclass(frozen=True)
class RowSource:
    """`numbers` float64 (N, P), NaN where a cell is empty; `words` (N, Q) of str, "" where it is; `places` says where
    each row was read, such as "line 3". `cells` has every column as it stands, those that were left out too: what a
    network was trained on may be something else here by the look of it."""

    numbers: np.ndarray
    words: np.ndarray
    number_names: tuple[str, ...]  # of the P columns
    word_names: tuple[str, ...]  # of the Q columns
    places: tuple[str, ...]
    labels: np.ndarray  # int64 (N,), positions in `classes`
    classes: tuple[str, ...]
    cells: Mapping[str, Sequence[str]]
    unit: ClassVar[str] = "row"

    def __len__(self) -> int:
        return len(self.places)

    def row(self, i: int) -> dict[str, float | str]:
        """Column to value, without what is empty."""
        numbers = {name: float(value) for name, value in zip(self.number_names, self.numbers[i]) if not np.isnan(value)}
        return numbers | {name: str(word) for name, word in zip(self.word_names, self.words[i]) if word}

    def filled(self, i: int) -> dict[str, str]:
        """Every column to its cell, as the table has it."""
        return {name: column[i] for name, column in self.cells.items()}

    def name(self, i: int) -> str:
        return self.places[i]

    def key(self, i: int) -> str:
        return "\0".join(f"{name}={value}" for name, value in self.row(i).items())

    def duplicate_groups(self) -> np.ndarray:
        return number_groups(self.content())

    def content(self) -> Iterable[bytes]:
        names = "\0".join((*self.number_names, *self.word_names)).encode()
        numbers = np.ascontiguousarray(self.numbers, dtype="<f8")
        for row, words in zip(numbers, self.words):
            yield names + row.tobytes() + "\0".join(words).encode()


@dataclass(frozen=True, kw_only=True)
class MeasuredRows(Measured, RowSource):
    """Rows with a number each; there are no classes."""

    groups: ClassVar[tuple[str, ...]] = ()  # each row may be in any part
    order: ClassVar[tuple[float, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class RowData(DataSet):
    """Rows of one table, or of one for each part."""

    source: RowSource

    def facts(self) -> dict[str, Any]:
        return {"numbers": len(self.source.number_names), "words": len(self.source.word_names)}

    def describe(self) -> str:
        return describe_columns(self.source)


def describe_columns(source: RowSource) -> str:
    counts = ((len(source.number_names), "numbers"), (len(source.word_names), "words"))
    return " and ".join(f"{n} column{'s' if n > 1 else ''} of {what}" for n, what in counts if n)
