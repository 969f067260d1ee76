"""Which columns of a table that is to be forecast are what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corinth.data.sequences.clock import is_time
from corinth.data.sequences.steps import MISSING, column_names, holds_numbers
from corinth.data.tables import Table, is_number, split_column
from corinth.errors import DataError, UsageError

TIME_NAMES = ("time", "date", "datetime", "timestamp", "ds")
DATE_PARTS = ("year", "month", "day", "hour", "minute", "second")
NOT_HERE = ("path_column", "text_column", "label_column", "source_column", "split_group")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what; several of a time are parts of it, from the year on."""

    time: tuple[str, ...]
    channels: tuple[str, ...]
    targets: tuple[str, ...]
    group: tuple[str, ...] = ()
    split: str | None = None
    ignored: tuple[str, ...] = ()  # of words

    @property
    def time_name(self) -> str:
        return self.time[0] if len(self.time) == 1 else "time"


def find_columns(table: Table, columns: Mapping[str, str | None], *, targets: bool = True) -> Columns:
    """The columns that are asked for; else the time is the first column of dates, or one called so, and the channels,
    all of them targets, are all other columns of numbers. Without `targets` there is no split either."""
    if wrong := [name for name in NOT_HERE if columns.get(name) is not None]:
        raise UsageError(f"{wrong[0]} is not for forecasting; leave it out")
    if not any(table.columns.values()):
        raise DataError(f"{table.path}: the table has no rows; it needs a step in each")
    _check_header(table)
    names = ("group_column", "time_column", "channel_columns", "target_column")
    group, time, channels, wanted = asked = [column_names(columns.get(name)) for name in names]
    for option, given in zip(names, asked):
        if gone := [name for name in given if name not in table.columns]:
            raise UsageError(
                f"{table.path}: {option} {gone[0]!r} is not there; the columns are {', '.join(table.columns)}"
            )
        if twice := [name for i, name in enumerate(given) if name in given[:i]]:
            raise UsageError(f"{table.path}: {option} names {twice[0]!r} twice; once is enough")
    time = time or _time_column(table, group)
    if len(time) > 1 and tuple(name.lower() for name in time) != DATE_PARTS[: len(time)]:
        raise UsageError(
            f"{table.path}: several columns of a time are its parts, {', '.join(DATE_PARTS[:4])} and so on, in that "
            f"order, and time_column is {', '.join(time)}"
        )
    split = split_column(table, (*group, *time, *channels, *wanted)) if targets else None
    rest = [name for name in table.columns if name not in (*group, *time, split)]
    numbers = [name for name in rest if holds_numbers(table, name)]
    chosen = channels or tuple(numbers)
    if not chosen:
        raise DataError(f"{table.path}: no column of numbers is left to be forecast; the columns are {', '.join(rest)}")
    if clash := [name for name in chosen if name in (*group, *time)]:
        raise UsageError(f"{table.path}: {clash[0]!r} is the time or the series, so it cannot be a channel too")
    if outside := [name for name in wanted if name not in chosen]:
        if channels:
            raise UsageError(
                f"{table.path}: {outside[0]!r} is to be forecast, which takes its past; name it in channel_columns too"
            )
        first = next(cell for cell in table.columns[outside[0]] if cell.lower() not in MISSING)
        raise DataError(f"{table.path}: column {outside[0]!r} says {first!r}, which is no number to forecast")
    ignored = () if channels else tuple(name for name in rest if name not in numbers)
    return Columns(time, chosen, wanted or chosen, group, split, ignored)


def _check_header(table: Table) -> None:
    """A first line that is a step would be lost. Whole numbers may be names, as where there are hundreds of columns,
    but not of all columns, unless they count these; and where one is called time, all are names."""
    names = list(table.columns)
    called = any(name.lower() in (*TIME_NAMES, *DATE_PARTS) for name in names)
    if not table.lines or not table.has_header or called:
        return
    counted = names in ([str(i + first) for i in range(len(names))] for first in (0, 1))
    bare = all(map(str.isdecimal, names)) and not counted
    if found := [name for name in names if bare or is_time(name) or _is_measured(name)]:
        raise DataError(
            f"{table.path}: line 1 looks like a step, not a header: a column would be called {found[0]!r}; put a line "
            "with the names of the columns above it"
        )


def _is_measured(name: str) -> bool:
    """Whether it is a number with a sign or a fraction."""
    return is_number(name) and not name.isdecimal() and any(map(str.isdecimal, name))


def _time_column(table: Table, taken: Sequence[str]) -> tuple[str]:
    rest = [name for name in table.columns if name not in taken]
    found = next((name for name in rest if is_time(table.columns[name][0])), None)
    found = found or next((name for word in TIME_NAMES for name in rest if name.lower() == word), None)
    if found is None:
        raise UsageError(
            f"{table.path}: none of the columns {', '.join(table.columns)} looks like the time (dates such as "
            f"2026-05-31, or a column called time); name it with time_column, parts of it with commas between: "
            "year,month,day,hour"
        )
    return (found,)


def as_given(columns: Mapping[str, Any], channels: Sequence[str], targets: Sequence[str]) -> dict[str, str | None]:
    """How a table like that of a training is read: its time and series by `columns`, the others by their names."""
    kept = {name: columns.get(name) for name in ("group_column", "time_column")}
    return kept | {"channel_columns": ",".join(channels), "target_column": ",".join(targets)}
