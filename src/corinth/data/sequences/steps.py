"""Tables of time series in long form: a row is a step, and columns say which sequence it belongs to and its target."""

import datetime
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corinth.data.sequences.series import LabelledSeries, gather, unusable
from corinth.data.tables import Table, is_number, split_column, split_of
from corinth.errors import DataError, UsageError

STEP_COLUMNS = ("group_column", "target_column", "time_column", "channel_columns", "split_group")
MISSING = ("", "?", "na", "n/a", "null", "none")


@dataclass(frozen=True)
class Layout:
    """Which columns of a table are what; `label` is the target where that is text."""

    group: tuple[str, ...]
    channels: tuple[str, ...]
    time: str | None = None
    target: str | None = None
    label: str | None = None
    together: str | None = None  # what must stay in one part
    split: str | None = None


def open_steps(
    tables: Sequence[tuple[Table, str | None]], columns: Mapping[str, str | None], *, max_corrupt: float
) -> Any:
    """All sequences of some tables, each a part or all of them, as one data set. `columns` has `STEP_COLUMNS` and
    `label_column`."""
    layouts = [layout(table, columns) for table, _ in tables]
    found: list[LabelledSeries] = []
    for (table, part), its in zip(tables, layouts, strict=True):
        found += read_steps(table, its, part)
    first, where = layouts[0], str(tables[0][0].path.parent if len(tables) > 1 else tables[0][0].path)
    collected = gather(found, where, max_corrupt, channel_names=first.channels, target_name=first.target or "target")
    own = [name for name in first.group if name != first.together]
    if len(own) == 1:
        collected.source = replace(collected.source, order_name=own[0])
    ending = first.target or first.label
    if changing := sum(entry.steps is not None for entry in found):
        collected.notes.append(
            f"{ending!r} changes within {changing} of {len(found)} sequences, so it is to be predicted at every step"
        )
    collected.notes.append(
        f"a row is a step: sequences are told apart by {_listed(first.group)}, their inputs are "
        f"{_listed(first.channels)}, and {ending!r} is to be predicted"
    )
    if first.time is not None and first.time not in first.channels:
        collected.notes.append(f"the time {first.time!r} orders the steps and is no input; channel_columns can name it")
    return collected


def layout(table: Table, columns: Mapping[str, str | None], *, targets: bool = True) -> Layout:
    """The columns that are asked for, and as channels all others that begin with a number. Without `targets` none is
    needed, and the channels must be asked for."""
    if not any(table.columns.values()):
        raise DataError(f"{table.path}: the table has no rows; it needs a step in each")
    group = column_names(columns.get("group_column"))
    label, target = columns.get("label_column"), columns.get("target_column")
    if not group:
        raise UsageError(
            f"{table.path}: group_column is needed, which says what sequence a row belongs to; the columns are "
            f"{', '.join(table.columns)}"
        )
    if targets and (label is None) == (target is None):
        which = "give one of them" if label else "one of them must say what is to be predicted"
        raise UsageError(f"{table.path}: target_column is a number or label_column a class; {which}")
    asked = column_names(columns.get("channel_columns"))
    time, together = columns.get("time_column"), columns.get("split_group")
    named = {"group_column": group, "time_column": (time,), "channel_columns": asked, "split_group": (together,)}
    if targets:
        named |= {"target_column": (target,), "label_column": (label,)}
    for option, names in named.items():
        if gone := [name for name in names if name is not None and name not in table.columns]:
            raise UsageError(
                f"{table.path}: {option} {gone[0]!r} is not there; the columns are {', '.join(table.columns)}"
            )
    taken = [name for name in (*group, time, together, label, target) if name is not None]
    split = split_column(table, taken) if targets else None
    rest = [name for name in table.columns if name not in (*taken, split)]
    channels = asked or tuple(name for name in rest if holds_numbers(table, name))
    if clash := [name for name in asked if name in (target, label)]:
        raise UsageError(
            f"{table.path}: {clash[0]!r} is to be predicted, so it cannot be an input; see channel_columns"
        )
    if not channels:
        raise DataError(
            f"{table.path}: no column of numbers is left to be an input; the columns are {', '.join(table.columns)}"
        )
    if not targets:
        target = label = None
    if target is not None and not holds_numbers(table, target):
        target, label = None, target
    return Layout(group, channels, time, target, label, together, split)


def read_steps(table: Table, its: Layout, part: str | None = None) -> list[LabelledSeries]:
    """The sequences of one table, in the order of their first rows."""
    rows: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(zip(*(table.columns[name] for name in its.group), strict=True)):
        if "" in key:
            empty = its.group[key.index("")]
            raise DataError(
                f"{table.place(row)}: column {empty!r} is empty; every row needs the sequence it belongs to"
            )
        rows.setdefault(key, []).append(row)
    values = np.stack([numbers_of(table, name) for name in its.channels], axis=1).astype(np.float32)
    targets = None if its.target is None else numbers_of(table, its.target)
    if its.time is not None:
        _check_times(table, its.time, rows)
    places = _places(its, rows)
    found = []
    for key, mine in rows.items():
        split = part if its.split is None else split_of(_one(table, its.split, mine), table.place(mine[0]), its.split)
        found.append(
            LabelledSeries(
                values=values[mine],
                place=f"{table.path.name}, {_said(its.group, key)}",
                **({} if its.label is None else _labels(table, its.label, mine)),
                split=split,
                target=None if targets is None else _target(table, its, targets, mine),
                group="" if its.together is None else _filled(table, its.together, mine, "group"),
                order=places[key],
                problem=_problem(table, its.channels, values[mine], mine),
            )
        )
    return found


def column_names(given: str | None) -> tuple[str, ...]:
    """The columns that an option names, with commas between."""
    return tuple(name.strip() for name in (given or "").split(",") if name.strip())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _said(group: Sequence[str], key: Sequence[str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(group, key))


def holds_numbers(table: Table, column: str) -> bool:
    """Whether the first cell that says something is a number."""
    return is_number(next((cell for cell in table.columns[column] if cell.lower() not in MISSING), "nan"))


def numbers_of(table: Table, column: str) -> np.ndarray:
    """A column as float64 (N,), NaN where it is empty."""
    cells = ["nan" if cell.lower() in MISSING else cell for cell in table.columns[column]]
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        row = next(row for row, cell in enumerate(cells) if not is_number(cell))
        raise DataError(f"{table.place(row)}: column {column!r} says {cells[row]!r}, which is no number") from None


def _check_times(table: Table, column: str, rows: Mapping[tuple[str, ...], Sequence[int]]) -> None:
    """The times of each sequence rise."""
    times = [_time(cell, table, row, column) for row, cell in enumerate(table.columns[column])]
    for key, mine in rows.items():
        for before, row in itertools.pairwise(mine):
            if times[row] > times[before]:
                continue
            now, then = table.columns[column][row], table.columns[column][before]
            what = "stands twice" if times[row] == times[before] else f"comes after {then}"
            raise DataError(
                f"{table.place(row)}: the time {now} {what} in the sequence {', '.join(key)}; the times of a sequence "
                "must rise from row to row"
            )


def _time(cell: str, table: Table, row: int, column: str) -> float:
    """A number, or a date in ISO 8601 as seconds; one without a time zone is of UTC, wherever it is read."""
    try:
        found = float(cell)
    except ValueError:
        try:
            date = datetime.datetime.fromisoformat(cell)
            found = (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).timestamp()
        except ValueError:
            where = f"{table.place(row)}: column {column!r}"
            raise DataError(f"{where} says {cell!r}; times are numbers, or dates such as 2026-05-31T12:00:00") from None
    if not math.isfinite(found):
        raise DataError(f"{table.place(row)}: column {column!r} says {cell!r}, which is no time")
    return found


def _one(table: Table, column: str, rows: Sequence[int]) -> str:
    """What a column says in all rows of a sequence; it may not change in it."""
    cells = table.columns[column]
    first = cells[rows[0]]
    if (other := next((row for row in rows if cells[row] != first), None)) is not None:
        raise DataError(
            f"{table.place(other)}: column {column!r} says {cells[other]!r} and at {_line(table, rows[0])} {first!r}, "
            "in one sequence; it must be the same at all its steps"
        )
    return first


def _filled(table: Table, column: str, rows: Sequence[int], what: str) -> str:
    """The same, where an empty cell says nothing."""
    found = _one(table, column, rows)
    if not found:
        raise DataError(f"{table.place(rows[0])}: column {column!r} is empty; every sequence needs a {what}")
    return found


def _labels(table: Table, column: str, rows: Sequence[int]) -> dict[str, Any]:
    """The label of a sequence, or of each of its steps where it changes."""
    cells = tuple(table.columns[column][row] for row in rows)
    if "" in cells:
        place = table.place(rows[cells.index("")])
        raise DataError(f"{place}: column {column!r} is empty; every sequence, or every step, needs a label")
    return {"label": cells[0]} if len(set(cells)) == 1 else {"steps": cells}


def _target(table: Table, its: Layout, targets: np.ndarray, rows: Sequence[int]) -> float:
    """The target of a sequence, the same at all its steps; one that is missing is missing at all of them."""
    mine, first = targets[rows], targets[rows[0]]
    differs = ~((mine == first) | (np.isnan(mine) & np.isnan(first)))
    if differs.any():
        row = rows[int(differs.argmax())]
        raise DataError(
            f"{table.place(row)}: the target {its.target!r} is {targets[row]:g} and at {_line(table, rows[0])} "
            f"{first:g}, in one sequence; it needs one target for all its steps"
        )
    return float(first)


def _line(table: Table, row: int) -> str:
    return table.place(row).removeprefix(f"{table.path}, ")


def _problem(table: Table, channels: Sequence[str], values: np.ndarray, rows: Sequence[int]) -> str | None:
    """Why a sequence cannot be used, with the row that shows it."""
    if unusable(values) is None:
        return None
    step, channel = np.argwhere(~np.isfinite(values))[0].tolist()
    what = "is missing" if math.isnan(values[step, channel]) else "is not finite"
    return f"the value of {channels[channel]!r} at {_line(table, rows[step])} {what}"


def _places(its: Layout, rows: Mapping[tuple[str, ...], Sequence[int]]) -> dict[tuple[str, ...], float]:
    """Of each sequence its place among those of its group: what tells it from them, where that is one number, or else
    where it stands in the file."""
    own = [i for i, name in enumerate(its.group) if name != its.together]
    if len(own) == 1 and all(is_number(key[own[0]]) for key in rows):
        return {key: float(key[own[0]]) for key in rows}
    return {key: float(number) for number, key in enumerate(rows, start=1)}
