"""From tables to rows: which column is the label, which are numbers, which are words, and which say nothing."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from corinth.data.collect import Collected, check_names, check_usable, ordered
from corinth.data.decode import is_image_file
from corinth.data.rows.source import CLASSIFICATION, REGRESSION, MeasuredRows, RowSource, describe_columns
from corinth.data.sequences.audio import is_audio_file
from corinth.data.sequences.files import declared_parts
from corinth.data.tables import LABEL_COLUMNS, PATH_COLUMNS, Table, find_column, split_column, split_of
from corinth.errors import DataError, UsageError

MOST_WORDS = 100  # different ones in a column; more are names, which say nothing of the next row
MOST_CLASSES = 1000
EMPTY = ("", "na", "nan", "null", "none", "?")  # of a cell, in small letters
NUMBERS_OF_ROWS = ("id", "index", "row", "no", "nr", "number", "unnamed: 0", "")


def have_rows(tables: Sequence[Table]) -> bool:
    """Whether tables hold what is to be classified beside labels, and not the paths of files that are."""
    return all(len(table.columns) > 1 and not any(map(_are_paths, table.columns.items())) for table in tables)


def _are_paths(column: tuple[str, list[str]]) -> bool:
    """By a column's name and first cell; without a header the name is a cell."""
    name, cells = column
    return name.lower() in PATH_COLUMNS or any(
        is_image_file(cell) or is_audio_file(cell) for cell in (name, *cells[:1])
    )


def open_rows(
    tables: Sequence[tuple[Table, str | None]],
    *,
    label_column: str | None,
    target_column: str | None = None,
    max_corrupt: float = 0.0,
) -> Collected:
    """Tables of the same columns, with the part that each is, or None where a column called `split` may say it. With a
    `target_column` its numbers are to be predicted; rows without one cannot be used."""
    first = tables[0][0]
    where = str(first.path.parent if len(tables) > 1 else first.path)
    if target_column is not None and label_column is not None:
        raise UsageError(f"{where}: target_column is a number or label_column a class; give one of them")
    try:
        if target_column is not None:
            label_in = find_column(first, target_column, (), "target")
        else:
            label_in = find_column(first, label_column, LABEL_COLUMNS, "label")
    except DataError as error:
        if not first.has_header:
            raise DataError(
                f"{first.path}: has no header, so its columns are called 1 to {len(first.columns)}; name the one with "
                "the classes by label_column, such as 1"
            ) from None
        raise DataError(f"{error}; where a row is a step of a time series, say which by group_column") from None
    split_in = split_column(first, (label_in,)) if tables[0][1] is None else None
    names = [name for name in first.columns if name not in (label_in, split_in)]
    for table, _ in tables[1:]:
        for one, other in ((table, first), (first, table)):
            if lacking := [name for name in other.columns if name not in one.columns]:
                raise DataError(f"{one.path}: has no column {lacking[0]!r}, which {other.path.name} has")
    places = [(table, row) for table, _ in tables for row in range(len(table.columns[label_in]))]
    if not places:
        raise DataError(f"{where}: the table has no rows below its header; it needs a row for each sample")
    labels, splits = [], []
    for table, part in tables:
        for row, label in enumerate(table.columns[label_in]):
            if not label and target_column is None:
                raise DataError(f"{table.place(row)}: column {label_in!r} is empty; every row needs a label")
            labels.append(label)
            said = None if split_in is None else split_of(table.columns[split_in][row], table.place(row), split_in)
            splits.append(said or part)
    what = "labels" if target_column is None else "numbers to be predicted"
    notes = [f"{what} are read from column {label_in!r} of {first.path.name}"]
    if split_in is not None:
        notes.append(f"splits are read from column {split_in!r}")
    classes: list[str] = []
    targets, corrupt = np.empty(0), []
    if target_column is None:
        classes = _classes(labels, label_in, where)
    else:
        targets = _targets(labels, label_in, places)
        corrupt = [_lacking(label_in, targets[i], places[i]) for i in np.flatnonzero(~np.isfinite(targets))]
        check_usable(corrupt, len(targets), max_corrupt, where, "row")
    kept = np.flatnonzero(np.isfinite(targets)) if target_column is not None else np.arange(len(labels))
    labels, splits, places = ([values[i] for i in kept] for values in (labels, splits, places))
    columns = {name: [cell for table, _ in tables for cell in table.columns[name]] for name in names}
    columns = {name: [cells[i] for i in kept] for name, cells in columns.items()}
    numbers, words = _sorted_out(columns, places, notes)
    if not numbers and not words:
        raise DataError(
            f"{where}: no column but {label_in!r} can be learnt from; a table has columns of numbers or of few "
            "different words (or name the column with images' paths by path_column, the one with texts by text_column)"
        )
    if empty := sum(sum(map(math.isnan, column)) for column in numbers.values()):
        notes.append(f"{empty} cells of numbers are empty; they become the mean of the training part, and marked")
    number = {name: i for i, name in enumerate(classes)}
    common: dict[str, Any] = {
        "numbers": np.array(list(numbers.values()), dtype=np.float64).reshape(-1, len(labels)).T,
        "words": np.array(list(words.values()), dtype=object).reshape(-1, len(labels)).T,
        "number_names": tuple(numbers),
        "word_names": tuple(words),
        "places": tuple(table.place(row).removeprefix(f"{table.path.parent}/") for table, row in places),
        "labels": np.array([number.get(label, 0) for label in labels], dtype=np.int64),
        "classes": tuple(classes),
        "cells": columns,
    }
    source = RowSource(**common)
    if target_column is not None:
        source = MeasuredRows(targets=targets[kept], target_name=label_in, **common)
    notes.append(f"rows have {describe_columns(source)}")
    task = CLASSIFICATION if target_column is None else REGRESSION
    return Collected(source, declared_parts(splits), corrupt, notes, task)


def _targets(cells: Sequence[str], column: str, places: Sequence[tuple[Table, int]]) -> np.ndarray:
    """Numbers (N,), NaN where a cell is empty."""
    values = [read_cell(cell) for cell in cells]
    if (odd := next((i for i, value in enumerate(values) if value is None), None)) is not None:
        table, row = places[odd]
        raise DataError(
            f"{table.place(row)}: target_column {column!r} says {cells[odd]!r}, which is no number; classes are named "
            "by label_column"
        )
    return np.array(values, dtype=np.float64)


def _lacking(column: str, value: float, place: tuple[Table, int]) -> tuple[str, str]:
    """The place of a row whose target is no number to learn, and what is wrong with it."""
    what = "missing" if math.isnan(value) else "not finite"
    return place[0].place(place[1]), f"its {column} is {what}"


def read_cell(cell: str) -> float | None:
    """A number, NaN of an empty cell, None of a word."""
    if cell.lower() in EMPTY:
        return math.nan
    try:
        return float(cell)
    except ValueError:
        return None


def read_word(cell: str) -> str:
    """A word, "" of an empty cell."""
    return "" if cell.lower() in EMPTY else cell


def _classes(labels: Sequence[str], column: str, where: str) -> list[str]:
    classes = ordered(set(labels))
    check_names(classes, where)
    values = [read_cell(name) for name in classes]
    numbers = [value for value in values if value is not None]
    uneven = len(numbers) == len(classes) and any(value != round(value) for value in numbers if math.isfinite(value))
    if (uneven and len(classes) > 20) or len(classes) > MOST_CLASSES:
        raise UsageError(
            f"{where}: column {column!r} has {len(classes)} different values, and classes are few; name the column "
            "with the classes by label_column"
        )
    return classes


def _sorted_out(
    columns: dict[str, list[str]], places: Sequence[tuple[Table, int]], notes: list[str]
) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    """Columns of numbers and of words; what is left out is said in `notes`."""
    numbers: dict[str, list[float]] = {}
    words: dict[str, list[str]] = {}
    for name, cells in columns.items():
        values = [read_cell(cell) for cell in cells]
        known = [value for value in values if value is not None]
        different = len(set(cells))
        if all(math.isnan(value) for value in known) and len(known) == len(cells):
            notes.append(f"column {name!r} is empty and left out")
        elif len(known) == len(cells):
            _refuse_infinite(name, known, places)
            if name.strip().lower() in NUMBERS_OF_ROWS and different == len(cells):
                notes.append(f"column {name!r} numbers the rows and is left out")
            else:
                numbers[name] = known
        elif different <= MOST_WORDS:
            words[name] = [read_word(cell) for cell in cells]
        elif len(cells) - len(known) <= 0.01 * len(cells):
            odd = next(i for i, value in enumerate(values) if value is None)
            table, row = places[odd]
            raise DataError(f"{table.place(row)}: column {name!r} has numbers, and here {cells[odd]!r}; correct it")
        else:
            notes.append(f"column {name!r} has {different} different words, as names are, and is left out")
    return numbers, words


def _refuse_infinite(name: str, values: Sequence[float], places: Sequence[tuple[Table, int]]) -> None:
    odd = next((i for i, value in enumerate(values) if math.isinf(value)), None)
    if odd is not None:
        table, row = places[odd]
        raise DataError(f"{table.place(row)}: column {name!r} is infinite; numbers must be finite, or the cell empty")
