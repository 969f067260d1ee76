"""Sequences without labels, to be predicted: as a person gives them, or from files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corinth.data.sequences.series import SERIES_SUFFIXES, read_series
from corinth.data.sequences.texts import TEXT_COLUMNS, read_text
from corinth.data.tables import TABLE_SUFFIXES, find_column, read_table
from corinth.errors import DataError, UsageError


@dataclass(frozen=True)
class Loose:
    """One sequence, a text or an array (T, C), by a name for people; or `error`, why there is none."""

    name: str
    value: Any = None
    error: str | None = None


def loose_texts(given: Iterable[Any], text_column: str | None = None) -> Iterator[Loose]:
    """Strings are texts themselves, paths are .txt files or tables with a text a row."""
    for item in given:
        if isinstance(item, str):
            yield _text(shortened(item), item.strip())
            continue
        path = Path(item)
        try:
            if path.suffix.lower() in TABLE_SUFFIXES:
                table = read_table(path)
                column = find_column(table, text_column, TEXT_COLUMNS, "text")
                yield from (_text(table.place(row), text) for row, text in enumerate(table.columns[column]))
            else:
                yield _text(str(path), read_text(path))
        except (DataError, OSError) as error:
            yield Loose(str(path), error=str(error).removeprefix(f"{path}: "))


def _text(name: str, text: str) -> Loose:
    return Loose(name, text) if text else Loose(name or "(empty)", error="the text is empty")


def shortened(text: str, most: int = 60) -> str:
    """A text as a name: its beginning, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def loose_series(given: Iterable[Any]) -> Iterator[Loose]:
    """Arrays (T, C), or (T,) of one channel; paths of .csv and .tsv files with a step a row, of .ts and .npz files."""
    for number, item in enumerate(given):
        if isinstance(item, np.ndarray):
            if item.ndim not in (1, 2) or item.dtype.kind not in "fiub":
                raise UsageError(f"a series is numbers (T, C), and number {number} is {item.dtype} {item.shape}")
            values = item[:, None] if item.ndim == 1 else item
            yield Loose(f"series {number}", np.ascontiguousarray(values, dtype=np.float32))
            continue
        path = Path(item)
        try:
            if path.suffix.lower() in SERIES_SUFFIXES:
                yield from (Loose(entry.place, entry.values) for entry in read_series(path, None))
            else:
                yield Loose(str(path), _steps(path))
        except (DataError, OSError) as error:
            yield Loose(str(path), error=str(error).removeprefix(f"{path}: "))


def _steps(path: Path) -> np.ndarray:
    """A file with a step a line and its channels between commas, semicolons or tabs; a header is passed over."""
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    rows = []
    for number, line in enumerate(lines, start=1):
        cells = line.replace(";", ",").replace("\t", ",").split(",")
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError as error:
            if number == 1:
                continue
            raise DataError(f"line {number}: {error}; every step needs a number for each channel") from error
        if len(rows[-1]) != len(rows[0]):
            raise DataError(f"line {number}: has {len(rows[-1])} channels and the first has {len(rows[0])}")
    return np.array(rows, dtype=np.float32).reshape(len(rows), -1)
