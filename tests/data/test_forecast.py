"""Tables to forecast: windows, parts in time, what is standardised, and each bad input in one sentence."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corinth.data import Loader, SequenceData, open_data
from corinth.data.preflight import preflight
from corinth.data.sequences.forecast import ForecastSource
from corinth.data.sequences.forecast_encoding import ForecastEncoding
from corinth.data.sequences.forecast_store import ForecastStore
from corinth.errors import CorinthError, DataError, UsageError
from series_tables import AHEAD, hours, months, wave, write_series


def opened(path: Path, **how: Any) -> tuple[SequenceData, ForecastSource]:
    data = open_data(path, **(AHEAD | how))
    assert isinstance(data, SequenceData)
    assert isinstance(data.source, ForecastSource)
    return data, data.source


def rows_of(source: ForecastSource, positions: np.ndarray) -> list[int]:
    """The first rows that windows forecast."""
    return source.origins[positions, 1].tolist()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_series(tmp_path / "waves.csv", wave(100))


def test_windows_of_a_table(table: Path) -> None:
    data, source = opened(table)
    values = wave(100)
    assert data.task == "forecasting"
    assert (source.channel_names, source.target_names, source.season) == (("a", "b"), ("a", "b"), 24)
    assert len(source) == 100 - 8 - 4 + 1
    np.testing.assert_array_equal(source.sequence(3), values[3:11])
    np.testing.assert_array_equal(source.target(3), values[11:15])
    assert source.name(0) == "waves.csv, from 2026-01-30 08:00:00 on"
    assert source.times(0)[0] == "2026-01-30 00:00:00"
    assert data.opened_with["horizon"] == 4
    assert "the next 4 of a, b" in data.notes[0]


def test_parts_lie_one_behind_the_other(table: Path) -> None:
    data, source = opened(table, val_share=0.1, test_share=0.2)
    train, val, test = (rows_of(source, data.positions(part)) for part in ("train", "val", "test"))
    assert train == list(range(8, 70 - 4 + 1))
    assert val == list(range(70, 80 - 4 + 1))  # what is foretold is in the part whole, what is seen may be before it
    assert test == list(range(80, 100 - 4 + 1))


def test_a_split_column_says_the_parts_and_what_is_missing_is_cut_from_the_end(tmp_path: Path) -> None:
    split = ["train"] * 80 + ["test"] * 20
    data, source = opened(write_series(tmp_path / "s.csv", wave(100), split=split))
    assert data.declared_splits == ("train", "test")
    assert rows_of(source, data.positions("test")) == list(range(80, 97))
    assert rows_of(source, data.positions("val")) == list(range(72, 77))
    assert source.channel_names == ("a", "b")
    split[5] = "test"
    with pytest.raises(DataError, match=r"line 8: column 'split' says 'train' behind a later part; in time training"):
        opened(write_series(tmp_path / "t.csv", wave(100), split=split))


def test_the_future_changes_no_input(tmp_path: Path) -> None:
    """Whatever comes from a time on: windows that forecast from there see the same."""
    values = wave(100)
    changed = values.copy()
    changed[80:] += np.random.default_rng(1).normal(0, 50, (20, 2))
    batches = []
    for name, table in (("a", values), ("b", changed)):
        data, source = opened(write_series(tmp_path / f"{name}.csv", table))
        encoding = ForecastEncoding.measured(data, relative="none")
        until = np.flatnonzero(source.origins[:, 1] <= 80)
        batches.append(next(iter(Loader(ForecastStore(data, until, encoding), 200))))
    first, second = batches
    assert (first.inputs.values == second.inputs.values).all()  # and so are mean and spread, of the training part
    assert (first.targets[:-4] == second.targets[:-4]).all()
    assert (first.targets[-1] != second.targets[-1]).any()


def test_standardised_by_the_training_part_alone(table: Path) -> None:
    data, _ = opened(table)
    encoding = ForecastEncoding.measured(data, relative="none")
    values = wave(100)[:70]
    np.testing.assert_allclose(encoding.mean, values.mean(axis=0))
    np.testing.assert_allclose(encoding.std, values.std(axis=0))
    batch = next(iter(Loader(ForecastStore(data, "test", encoding), 3)))
    np.testing.assert_allclose(
        encoding.in_unit(batch.targets.numpy()), np.stack([wave(100)[i : i + 4] for i in (80, 81, 82)]), rtol=1e-5
    )
    assert batch.inputs.values.shape == (3, 8, 2)


def test_columns_may_be_chosen(table: Path) -> None:
    data, source = opened(table, target_column="b")
    assert (source.channel_names, source.target_names) == (("a", "b"), ("b",))
    assert source.target(0).shape == (4, 1)
    _, alone = opened(table, channel_columns="b")
    assert (alone.channel_names, alone.target_names) == (("b",), ("b",))
    assert open_data(table, horizon=4, window=8, target_column="b").fingerprint == data.fingerprint
    assert open_data(table, horizon=4, window=8).fingerprint != data.fingerprint
    assert open_data(table, task="forecasting", horizon=5).source.window == 10  # twice as much


def test_series_of_several_shops_are_cut_at_the_same_times(tmp_path: Path) -> None:
    values = np.concatenate([wave(60), wave(40, seed=1)])
    times = hours(60) + hours(60)[20:]
    table = write_series(tmp_path / "shops.csv", values, times, shop=["x"] * 60 + ["y"] * 40)
    data, source = opened(table, group_column="shop")
    assert source.names == ("shop x", "shop y")
    firsts = {part: {source.times(int(i))[8] for i in data.positions(part)} for part in ("train", "val", "test")}
    assert max(firsts["train"]) < min(firsts["val"]) < max(firsts["val"]) < min(firsts["test"])
    test = source.origins[data.positions("test")]
    assert set(test[:, 0].tolist()) == {0, 1}
    assert test[test[:, 0] == 0, 1].min() - 20 == test[test[:, 0] == 1, 1].min()


def test_missing_values_are_read_and_never_foretold(tmp_path: Path) -> None:
    values = wave(100)
    values[0, 0] = values[50, 1] = values[51, 1] = np.nan
    table = write_series(tmp_path / "m.csv", values)
    with pytest.raises(DataError, match=r"line 2: the value of 'a' is missing, the first of 3; missing fill takes"):
        opened(table)
    data, source = opened(table, missing="fill")
    assert "2 missing values were filled" in " ".join(data.notes)
    filled = values[1:].copy()  # without the first row, before which there is nothing
    filled[49:51, 1] = filled[48, 1]
    np.testing.assert_array_equal(source.series[0], filled)
    assert not set(rows_of(source, np.arange(len(source)))) & {46, 47, 48, 49, 50}
    times = hours(100)
    del times[40:43]
    _, source = opened(write_series(tmp_path / "g.csv", wave(97), times), missing="fill")
    assert len(source.series[0]) == 100
    assert (source.series[0][40:43] == source.series[0][39]).all()


def test_windows_that_have_nothing_in_common(table: Path) -> None:
    data, source = opened(table)
    apart = source.apart(data.positions("test"))
    assert rows_of(source, apart) == [80, 84, 88, 92, 96]


def test_a_test_part_is_cut_from_behind_a_declared_validation_part(tmp_path: Path) -> None:
    split = ["train"] * 60 + ["val"] * 40
    data, source = opened(write_series(tmp_path / "s.csv", wave(100), split=split))
    train, val, test = (rows_of(source, data.positions(part)) for part in ("train", "val", "test"))
    assert (train[-1], val[0], val[-1], test) == (56, 60, 88, list(range(92, 97)))  # a fifth of 40 steps
    assert "from the end of the validation part 20% test" in " ".join(data.notes)
    split = ["train"] * 93 + ["val"] * 7
    short = write_series(tmp_path / "t.csv", wave(100), split=split)
    with pytest.raises(DataError, match="the validation part has 7 steps, and to cut a test part from its end takes 8"):
        opened(short)
    assert not len(opened(short, test_share=0.0)[0].positions("test"))


def test_series_half_a_step_apart_have_all_parts(tmp_path: Path) -> None:
    times = hours(60) + [time.replace(":00:00", ":30:00") for time in hours(60)]
    values = np.concatenate([wave(60), wave(60, seed=1)])
    table = write_series(tmp_path / "p.csv", values, times, shop=["x"] * 60 + ["y"] * 60)
    data, source = opened(table, group_column="shop")
    for part, count in (("val", 3), ("test", 9)):  # of 6 and 12 steps
        assert np.bincount(source.origins[data.positions(part), 0]).tolist() == [count, count]
    times[60:] = hours(60, "2026-01-20 00:00:00")
    data, _ = opened(write_series(tmp_path / "q.csv", values, times, shop=["x"] * 60 + ["y"] * 60), group_column="shop")
    assert "the test part has no window of shop y" in data.notes


def test_a_first_line_that_is_a_step_is_no_header(tmp_path: Path) -> None:
    table = tmp_path / "bare.csv"
    for first in ("2026-01-01,4", "1,518", "x,1.5"):
        table.write_text(first + "\n" + "\n".join(f"2026-01-{day:02},{day}" for day in range(2, 30)))
        with pytest.raises(DataError, match=r"bare.csv: line 1 looks like a step, not a header: a column would be"):
            opened(table)
    for header in ("date,0", "date,1.5", "0,1"):  # as in the field's tables of many series
        table.write_text(header + "\n" + "\n".join(f"2026-01-{day:02},{day}" for day in range(2, 30)))
        assert opened(table)[1].channel_names == (header.split(",")[1],)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"test_groups": "x"}, "test_groups is not for forecasting, whose parts are in time; leave it out"),
        ({"channel_columns": "a,a"}, "channel_columns names 'a' twice; once is enough"),
        ({"target_column": "b,b"}, "target_column names 'b' twice"),
        ({"horizon": 0}, "horizon 0 is not valid; it must be a whole number of steps from 1"),
        ({"window": 0}, "window 0 is not valid"),
        ({"season": -1}, "season -1 is not valid"),
        ({"missing": "drop"}, "missing 'drop' is not valid; it must be refuse or fill"),
        ({"horizon": None}, "window is for forecasting, which needs a horizon too"),
        ({"horizon": None, "window": None, "task": "forecasting"}, "forecasting needs a horizon"),
        ({"task": "sequence-regression"}, "horizon 4 is for forecasting, and task is sequence-regression"),
        ({"target_column": "c"}, "target_column 'c' is not there; the columns are date, a, b"),
        ({"time_column": "when"}, "time_column 'when' is not there"),
        ({"channel_columns": "a", "target_column": "b"}, "'b' is to be forecast, which takes its past; name it in"),
        ({"channel_columns": "a,date"}, "'date' is the time or the series, so it cannot be a channel too"),
        ({"label_column": "a"}, "label_column is not for forecasting; leave it out"),
        ({"window": 97}, "has 100 steps, and a window of 97 and a horizon of 4 need 101; take shorter ones"),
        ({"window": 85}, "has 100 steps to train on, validate and test, and a window of 85 and a horizon of 4 need"),
        ({"val_share": 0.5, "test_share": 0.5}, "leave nothing to train on"),
        ({"time_column": "a,b"}, "several columns of a time are its parts, year, month, day, hour"),
    ],
)
def test_what_cannot_be_is_said(table: Path, how: dict[str, Any], said: str) -> None:
    with pytest.raises(CorinthError) as error:
        opened(table, **how)
    assert said in str(error.value)
    assert isinstance(error.value, UsageError | DataError)


def test_what_a_table_cannot_have(tmp_path: Path) -> None:
    flat = wave(100)
    flat[:75, 1] = 3.0
    with pytest.raises(DataError, match=r"the column 'b' is 3 all through the training part, so there is nothing"):
        opened(write_series(tmp_path / "flat.csv", flat))
    opened(tmp_path / "flat.csv", target_column="a")  # as an input it does no harm
    words = write_series(tmp_path / "words.csv", wave(100), wind=["NW"] * 100)
    data, source = opened(words)
    assert source.channel_names == ("a", "b")
    assert "no input, as these are no numbers: wind" in data.notes
    with pytest.raises(DataError, match="column 'wind' says 'NW', which is no number"):
        opened(words, target_column="wind")
    with pytest.raises(DataError, match="line 2: column 'wind' says 'NW', which is no number"):
        opened(words, channel_columns="a,wind")
    (tmp_path / "none.csv").write_text("x,y\n1,2\n")
    with pytest.raises(UsageError, match="none of the columns x, y looks like the time"):
        opened(tmp_path / "none.csv")
    times = hours(100)
    times[50], times[51] = times[51], times[50]
    with pytest.raises(DataError, match=r"back.csv, line 52: the time 2026-02-01 03:00:00 is 2 hours after|line 53: "):
        opened(write_series(tmp_path / "back.csv", wave(100), times))
    times[51] = times[50] = hours(100)[50]
    with pytest.raises(DataError, match=r"twice.csv, line 53: the time 2026-02-01 02:00:00 stands twice"):
        opened(write_series(tmp_path / "twice.csv", wave(100), times))
    infinite = wave(100)
    infinite[3, 0] = np.inf
    for missing in ("refuse", "fill"):
        with pytest.raises(DataError, match=r"line 5: the value of 'a' is not finite$"):
            opened(write_series(tmp_path / "inf.csv", infinite), missing=missing)
    with pytest.raises(UsageError, match="is no table"):
        opened(tmp_path)
    mixed = write_series(tmp_path / "two.csv", wave(40), hours(20) + months(20), shop=[*["x"] * 20, *["y"] * 20])
    with pytest.raises(DataError, match="steps of shop y are 1 month and those of shop x 1 hour"):
        opened(mixed, group_column="shop")


def test_without_a_horizon_a_table_is_what_it_was(tmp_path: Path) -> None:
    table = write_series(tmp_path / "rows.csv", wave(60), label=["x", "y"] * 30)
    assert open_data(table).task == "tabular-classification"
    with pytest.raises(UsageError, match="etth1 is a series to forecast; say how many hours ahead"):
        open_data("etth1")


def test_a_time_in_parts(tmp_path: Path) -> None:
    lines = ["year,month,day,hour,x", *(f"2010,1,{1 + i // 24},{i % 24},{i % 7}" for i in range(60))]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    _, source = opened(tmp_path / "p.csv", time_column="year,month,day,hour")
    assert (source.channel_names, source.time_column, source.clocks[0].said) == (("x",), "time", "1 hour")
    assert source.times(0)[-1] == "2010-01-01 11:00:00"
    lines[3] = "2010,1,1.5,2,3"
    (tmp_path / "p.csv").write_text("\n".join(lines))
    with pytest.raises(
        DataError, match=r"p.csv, line 4: column 'day' says '1.5'; the parts of a date are whole numbers"
    ):
        opened(tmp_path / "p.csv", time_column="year,month,day,hour")


def test_a_series_of_a_single_row_spoils_nothing(tmp_path: Path) -> None:
    values = np.concatenate([wave(1), wave(60)])
    table = write_series(tmp_path / "shops.csv", values, hours(1) + hours(60), shop=["x"] + ["y"] * 60)
    data, source = opened(table, group_column="shop")
    assert source.names == ("shop x", "shop y")
    assert [note for note in data.notes if "window of" in note] == ["no part has a window of shop x"]
    assert {clock.said for clock in source.clocks} == {"1 hour"}
    with pytest.raises(
        DataError, match=r"stands twice.*; where several series are in one table, say which by group_col"
    ):
        opened(table)
    with pytest.raises(DataError, match="has 1 step, and a window of 8"):
        opened(write_series(tmp_path / "one.csv", wave(1)))


def test_parquet_with_real_times(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    times = np.datetime64("2026-01-30T00:00:00") + np.arange(100) * np.timedelta64(1, "h")
    parquet.write_table(pyarrow.table({"when": times, "x": wave(100)[:, 0]}), tmp_path / "t.parquet")
    _, source = opened(tmp_path / "t.parquet")
    assert (source.time_column, source.channel_names) == ("when", ("x",))
    assert source.name(0) == "t.parquet, from 2026-01-30 08:00:00 on"
    days = np.datetime64("2026-01-30T00:00:00") + np.arange(100) * np.timedelta64(1, "D")
    parquet.write_table(pyarrow.table({"when": days, "x": wave(100)[:, 0]}), tmp_path / "d.parquet")
    assert opened(tmp_path / "d.parquet")[1].name(0) == "d.parquet, from 2026-02-07 on"


def test_the_preflight_says_what_is_in_it(table: Path) -> None:
    data, _ = opened(table)
    found = preflight(data)
    assert found.ok
    text = "\n".join(found.lines())
    assert "89 windows" in text
    assert "8 steps of 2 channels" in text
    assert "of the test steps of 'a' lie outside of what training has seen" in text
    flat = wave(100)
    flat[:, 1] = 3.0
    still, _ = opened(write_series(table.parent / "flat.csv", flat), target_column="a")
    warnings = [finding.text for finding in preflight(still).findings if finding.severity == "warning"]
    assert warnings == ["channel 'b' is 3 all through the training part: nothing is learnt from it"]


@pytest.mark.skipif(
    not Path(os.environ.get("CORINTH_DATA", ""), "ett", "ETTh1.csv").is_file(), reason="ETTh1 is not in $CORINTH_DATA"
)
def test_the_parts_of_etth1_are_the_fields() -> None:
    """12, 4 and 4 months of 30 days; windows as in the code of Zhou et al. 2021: 8640 - 336 - 96 + 1 and so on."""
    data = open_data("etth1", horizon=96, window=336)
    assert {part: len(rows) for part, rows in data.splits.items()} == {"train": 8209, "val": 2785, "test": 2785}
    source: Any = data.source
    assert rows_of(source, data.positions("val"))[0] == 8640
    assert rows_of(source, data.positions("test"))[-1] == 14400 - 96
    values = np.loadtxt(
        Path(os.environ["CORINTH_DATA"], "ett/ETTh1.csv"), delimiter=",", skiprows=1, usecols=range(1, 8)
    )
    encoding = ForecastEncoding.measured(data, relative="none")  # ty: ignore
    np.testing.assert_allclose(encoding.mean, values[:8640].mean(axis=0))
    np.testing.assert_allclose(encoding.std, values[:8640].std(axis=0))
    assert open_data("etth1", horizon=24, target_column="OT").source.target_names == ("OT",)
