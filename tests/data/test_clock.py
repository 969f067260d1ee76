"""Times of tables: steps, what comes next, seasons, and what is wrong with them."""

import pytest

from corinth.data.sequences.clock import read_clock
from corinth.errors import DataError


def place(row: int) -> str:
    return f"t.csv, line {row + 2}"


@pytest.mark.parametrize(
    ("cells", "following", "step", "season"),
    [
        (["2016-07-01 22:00:00", "2016-07-01 23:00:00"], ["2016-07-02 00:00:00"], "1 hour", 24),
        (["2016-07-01T00:00", "2016-07-01T00:15"], ["2016-07-01T00:30"], "15 minutes", 96),
        (["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"], "1 day", 7),
        (["20240227", "20240228"], ["20240229"], "1 day", 7),
        (["2024-01-01", "2024-01-08"], ["2024-01-15"], "7 days", 52),
        (["1949-10", "1949-11", "1949-12"], ["1950-01", "1950-02"], "1 month", 12),
        (["2000-01-31", "2000-02-29", "2000-03-31"], ["2000-04-30", "2000-05-31"], "1 month", 12),
        (["2000-01-15", "2000-04-15", "2000-07-15"], ["2000-10-15"], "3 months", 4),
        (["1999-06-30", "2000-06-30", "2001-06-30"], ["2002-06-30"], "1 year", 1),
        (["2025-12-31T23:00:00+01:00", "2026-01-01T00:00:00+01:00"], ["2026-01-01T01:00:00+01:00"], "1 hour", 24),
        (["1990", "1991"], ["1992"], "1", 1),
        (["0.5", "1", "1.5"], ["2"], "0.5", 1),
    ],
)
def test_times_go_on(cells: list[str], following: list[str], step: str, season: int) -> None:
    clock, places = read_clock(cells, "date", place, gaps=False)
    assert places.tolist() == list(range(len(cells)))
    assert [clock.text(i) for i in range(len(cells))] == cells
    assert [clock.text(len(cells) + i) for i in range(len(following))] == following
    assert (clock.said, clock.season) == (step, season)
    assert clock.later(1).text(0) == cells[1]


def test_gaps_are_steps_that_are_not_there() -> None:
    cells = ["2024-02-27", "2024-02-28", "2024-03-02", "2024-03-03"]
    _, places = read_clock(cells, "date", place, gaps=True)
    assert places.tolist() == [0, 1, 4, 5]


def test_times_go_on_in_the_last_zone() -> None:
    cells = ["2024-03-31T00:00:00+01:00", "2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"]
    clock, _ = read_clock(cells, "date", place, gaps=False)
    assert [clock.text(i) for i in range(4)] == [*cells, "2024-03-31T04:00:00+02:00"]
    assert [clock.later(1).text(i) for i in range(3)] == [*cells[1:], "2024-03-31T04:00:00+02:00"]
    assert clock.later(2).text(1) == "2024-03-31T04:00:00+02:00"
    cells = ["2024-03-01T00:00:00+01:00", "2024-04-01T00:00:00+02:00"]
    clock, _ = read_clock(cells, "date", place, gaps=False)
    assert [clock.text(i) for i in range(3)] == [*cells, "2024-05-01T00:00:00+02:00"]


def test_months_of_30_days_go_on_at_the_ends_of_months() -> None:
    clock, _ = read_clock(["2024-06-30", "2024-09-30"], "date", place, gaps=False)
    assert clock.at_month_ends(2).text(2) == "2024-12-31"
    clock, _ = read_clock(["2024-06-29", "2024-09-29"], "date", place, gaps=False)
    assert clock.at_month_ends(2).text(2) == "2024-12-29"


def test_a_single_time_has_the_steps_of_others() -> None:
    hourly, _ = read_clock(["2024-01-01T00:00", "2024-01-01T01:00"], "date", place, gaps=False)
    alone, places = read_clock(["2024-05-01T00:00"], "date", place, gaps=False, like=hourly)
    assert (alone.said, alone.text(1), places.tolist()) == ("1 hour", "2024-05-01T01:00", [0])
    assert read_clock(["2024-05-01T00:00"], "date", place, gaps=False)[0].unit == "second"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            ["2024-01-01", "2024-01-02", "2024-01-04", "2024-01-05"],
            "t.csv, line 4: the time 2024-01-04 is 2 days after 2024-01-02, and a step is 1 day elsewhere; all steps "
            "must be alike; missing fill puts rows in where some are not there",
        ),
        (
            ["2000-01", "2000-02", "2000-03", "2000-05"],
            "t.csv, line 5: the time 2000-05 is 2 months after 2000-03, and a step is 1 month elsewhere",
        ),
        (
            ["2024-01-01", "2024-01-01"],
            "t.csv, line 3: the time 2024-01-01 stands twice; the times of a series must rise",
        ),
        (["3", "2"], "t.csv, line 3: the time 2 comes after 3; the times of a series must rise from row to row"),
        (["2024-01-01", "soon"], "t.csv, line 3: column 'date' says 'soon'; times are numbers, or dates such as"),
        (["2024-01-01", "7"], "t.csv, line 3: column 'date' says '7' and before '2024-01-01'; all times must be"),
        (["2024-01-01T00:00", "2024-01-01T01:00+00:00"], "all dates, and all with a time zone or none"),
        (["1", "nan"], "t.csv, line 3: column 'date' says 'nan'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(cells: list[str], said: str) -> None:
    with pytest.raises(DataError) as error:
        read_clock(cells, "date", place, gaps=False)
    assert said in str(error.value)


def test_a_step_that_is_no_whole_one_is_no_gap() -> None:
    with pytest.raises(DataError, match="is 90 minutes after 2024-01-01T01:00"):
        read_clock(["2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T02:30"], "date", place, gaps=True)
