"""Tables with a row a step that are to be forecast: the series in them, without gaps."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from corinth.data.collect import Collected, counted
from corinth.data.sequences.clock import DAY, Clock, read_clock
from corinth.data.sequences.forecast import FORECASTING, NO_PART, PARTS, ForecastSource, declared_windows
from corinth.data.sequences.forecast_columns import Columns, find_columns
from corinth.data.sequences.steps import numbers_of
from corinth.data.tables import Table, split_of
from corinth.errors import DataError, UsageError

Missing = Literal["refuse", "fill"]
ETTH = (8640, 2880, 2880)  # hours: 12, 4 and 4 months of 30 days, as Zhou et al. 2021 split them


@dataclass(frozen=True)
class Ahead:
    """What is to be forecast, as `open_data` has it; `checked_ahead` makes it."""

    horizon: int
    window: int
    season: int | None = None
    missing: Missing = "refuse"


@dataclass(frozen=True)
class Steps:
    """One series: values float64 (T, C), `filled` and `parts` (T,) as a `ForecastSource` has them."""

    name: str
    group: tuple[str, ...]
    clock: Clock
    values: np.ndarray
    filled: np.ndarray
    parts: np.ndarray | None
    made_up: int = 0  # values that were filled in
    timed: bool = True  # whether the table says how far apart its steps are: a single row alone does not


@dataclass(frozen=True)
class Unread:
    """A series that cannot be used, and why."""

    name: str
    group: tuple[str, ...]
    error: DataError


def checked_ahead(
    task: str | None, *, horizon: int | None, window: int | None, season: int | None, missing: str
) -> Ahead | None:
    """The options of `open_data` for forecasting; None where it is not asked for."""
    if missing not in get_args(Missing):
        raise UsageError(f"missing {missing!r} is not valid; it must be {' or '.join(get_args(Missing))}")
    given = {"horizon": horizon, "window": window, "season": season}
    for name, value in given.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UsageError(f"{name} {value!r} is not valid; it must be a whole number of steps from 1")
    if horizon is None:
        if task == FORECASTING:
            raise UsageError("forecasting needs a horizon: how many steps are to be forecast, such as horizon 24")
        idle = next((name for name, value in given.items() if value is not None), None)
        if idle is not None or missing != "refuse":
            raise UsageError(f"{idle or 'missing'} is for forecasting, which needs a horizon too; leave it out")
        return None
    if task not in (None, FORECASTING):
        raise UsageError(f"horizon {horizon} is for forecasting, and task is {task}; leave one of them out")
    return Ahead(horizon, 2 * horizon if window is None else window, season, "fill" if missing == "fill" else "refuse")


def open_forecast(
    table: Table, columns: Mapping[str, str | None], ahead: Ahead, *, borders: Sequence[int] | None = None
) -> Collected:
    """All series of a table. `borders` are the numbers of rows of the training, validation and test part of the only
    one, from its beginning; what is behind them is left out."""
    its = find_columns(table, columns)
    found = read_steps(table, its, ahead.missing)
    if borders is not None:
        found = [replace(one, parts=_by_borders(one, borders, table)) for one in found]
    longest = max(len(one.values) for one in found)
    if longest < ahead.window + ahead.horizon:
        raise DataError(
            f"{table.path}: has {counted(longest, 'step')}, and a window of {ahead.window} and a horizon of "
            f"{ahead.horizon} need {ahead.window + ahead.horizon}; take shorter ones, or a longer series"
        )
    clock = found[0].clock
    source = ForecastSource(
        series=tuple(one.values for one in found),
        filled=tuple(one.filled for one in found),
        parts=tuple(one.parts for one in found if one.parts is not None),
        clocks=tuple(one.clock for one in found),
        names=tuple(one.name for one in found),
        where=table.path.name,
        channel_names=its.channels,
        targets=tuple(its.channels.index(name) for name in its.targets),
        time_column=its.time_name,
        window=ahead.window,
        horizon=ahead.horizon,
        season=clock.season if ahead.season is None else ahead.season,
    )
    if not len(source):
        raise DataError(f"{table.path}: no window has {ahead.horizon} steps behind it of which none is missing")
    return Collected(source, declared_windows(source), [], _notes(source, its, found), FORECASTING)


def _notes(source: ForecastSource, its: Columns, found: Sequence[Steps]) -> list[str]:
    several = f"{len(found)} series" if len(found) > 1 else "a series"
    notes = [
        f"{several} to forecast: rows are {source.clocks[0].said} apart by {its.time_name!r}; from windows of "
        f"{counted(source.window, 'step')} of {_listed(its.channels)} the next {source.horizon} of "
        f"{_listed(its.targets)}; a season is {counted(source.season, 'step')}"
    ]
    if its.ignored:
        notes.append(f"no input, as these are no numbers: {_listed(its.ignored)}")
    if its.split is not None:
        notes.append(f"parts are read from column {its.split!r}")
    if made := sum(one.made_up for one in found):
        notes.append(
            f"{made:,} missing values were filled with the last one before; windows that would have to forecast one "
            "are left out"
        )
    return notes


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def read_steps(table: Table, its: Columns, missing: Missing) -> list[Steps]:
    """The series of a table, in the order of their first rows, all with steps of one length."""
    found: list[Steps] = []
    for one in each_series(table, its, missing):
        if isinstance(one, Unread):
            raise one.error
        found.append(one)
    first = found[0].clock
    for one in found:
        if one.clock.said != first.said:
            raise DataError(
                f"{table.path}: steps of {one.name} are {one.clock.said} and those of {found[0].name} {first.said}; "
                "all series of a table need the same"
            )
    return found


def each_series(table: Table, its: Columns, missing: Missing) -> list[Steps | Unread]:
    """The series of a table, in the order of their first rows, each read by itself; one of a single row has the steps
    of the others."""
    rows: dict[tuple[str, ...], list[int]] = {}
    keys = zip(*(table.columns[name] for name in its.group)) if its.group else iter(lambda: (), None)
    for row, key in zip(range(len(table.columns[its.channels[0]])), keys):
        rows.setdefault(key, []).append(row)
    values = np.stack([numbers_of(table, name) for name in its.channels], axis=1)
    cells = _times(table, its.time)
    found: dict[tuple[str, ...], Steps | Unread] = {}
    like: Clock | None = None
    for key, mine in sorted(rows.items(), key=lambda item: len(item[1]) == 1):  # those of a single row last
        name = ", ".join(f"{column} {value}" for column, value in zip(its.group, key))
        try:
            found[key] = one = _one(table, its, missing, name, key, mine, cells, values, like)
            like = one.clock if like is None and len(mine) > 1 else like
        except DataError as error:
            found[key] = Unread(name, key, error)
    return [found[key] for key in rows]


def _one(
    table: Table,
    its: Columns,
    missing: Missing,
    name: str,
    key: tuple[str, ...],
    rows: Sequence[int],
    cells: Sequence[str],
    values: np.ndarray,
    like: Clock | None,
) -> Steps:
    clock, places = read_clock(
        [cells[row] for row in rows],
        its.time_name,
        lambda i: table.place(rows[i]),
        gaps=missing == "fill",
        hint="" if its.group else "; where several series are in one table, say which by group_column",
        like=like,
    )
    if not table.lines and clock.pattern == "%Y-%m-%d %H:%M:%S" and _at_midnight(clock):
        clock = replace(clock, pattern="%Y-%m-%d")  # Parquet has no dates that are written some way
    mine = values[rows]
    if np.isinf(mine).any():
        row, channel = np.argwhere(np.isinf(mine))[0].tolist()
        raise DataError(f"{table.place(rows[row])}: the value of {its.channels[channel]!r} is not finite")
    bad = np.isnan(mine)
    if missing == "refuse" and bad.any():
        row, channel = np.argwhere(bad)[0].tolist()
        more = f", the first of {bad.sum():,}" if bad.sum() > 1 else ""
        raise DataError(
            f"{table.place(rows[row])}: the value of {its.channels[channel]!r} is missing{more}; missing fill takes "
            "the last one before it"
        )
    parts = None if its.split is None else _declared(table, its.split, rows)
    timed = len(rows) > 1 or like is not None
    if missing == "refuse":
        return Steps(name, key, clock, mine, np.zeros(len(mine), dtype=bool), parts, timed=timed)
    return _filled(table, its, Steps(name, key, clock, mine, bad[:, 0], parts, timed=timed), places)


def _filled(table: Table, its: Columns, found: Steps, places: np.ndarray) -> Steps:
    """On the clock's own steps, each value that is missing the last one before it, from the first row on that has all
    of them."""
    steps = int(places[-1]) + 1
    grid = np.full((steps, len(its.channels)), np.nan)
    grid[places] = found.values
    lacking = np.isnan(grid)
    if lacking.all(axis=0).any():
        name = its.channels[int(lacking.all(axis=0).argmax())]
        raise DataError(f"{table.path}: column {name!r} has no value{f' in {found.name}' if found.name else ''}")
    start = int((~lacking).argmax(axis=0).max())
    last = np.maximum.accumulate(np.where(lacking, 0, np.arange(steps)[:, None]), axis=0)
    values = np.take_along_axis(grid, last, axis=0)[start:]
    of_targets = lacking[:, [its.channels.index(name) for name in its.targets]]
    parts = None
    if found.parts is not None:
        parts = found.parts[np.searchsorted(places, np.arange(steps), side="right") - 1][start:]
    return replace(
        found,
        clock=found.clock.later(start),
        values=values,
        filled=np.any(of_targets, axis=1)[start:],
        parts=parts,
        made_up=int(lacking[start:].sum()),
    )


def _at_midnight(clock: Clock) -> bool:
    """Whether dates say all there is to say: steps of whole days or months, at midnight."""
    whole = clock.unit == "month" or (clock.unit == "second" and clock.step % DAY == 0)
    return whole and clock.start.time() == datetime.time() and clock.start.tzinfo is None


def _times(table: Table, columns: Sequence[str]) -> list[str]:
    """What the time's column says, or a date of its parts."""
    if len(columns) == 1:
        return table.columns[columns[0]]
    parts = [numbers_of(table, name) for name in columns]
    found = []
    for name, part in zip(columns, parts):
        if (broken := part != np.floor(part)).any():  # what is missing, too
            row = int(broken.argmax())
            raise DataError(
                f"{table.place(row)}: column {name!r} says {table.columns[name][row]!r}; the parts of a date are whole "
                "numbers"
            )
    for row in range(len(parts[0])):
        said = [f"{part[row]:.0f}" for part in parts]
        filled = [*said, *("1", "1", "0", "0", "0")[len(said) - 1 :]]
        found.append("{:0>4}-{:0>2}-{:0>2} {:0>2}:{:0>2}:{:0>2}".format(*filled))
    return found


def _declared(table: Table, column: str, rows: Sequence[int]) -> np.ndarray:
    """The part of each row; they come one behind the other."""
    cells = table.columns[column]
    parts = np.array([PARTS.index(split_of(cells[row], table.place(row), column)) for row in rows], dtype=np.int8)
    if (back := np.diff(parts) < 0).any():
        row = rows[int(back.argmax()) + 1]
        raise DataError(
            f"{table.place(row)}: column {column!r} says {cells[row]!r} behind a later part; in time training comes "
            "first, then validation, then test"
        )
    return parts


def _by_borders(one: Steps, borders: Sequence[int], table: Table) -> np.ndarray:
    if len(one.values) < sum(borders):
        raise DataError(f"{table.path}: has {len(one.values)} rows, and its parts need {sum(borders)}")
    parts = np.full(len(one.values), NO_PART, dtype=np.int8)
    parts[: sum(borders)] = np.repeat(np.arange(3), borders)
    return parts
