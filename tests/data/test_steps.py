"""Time series with numbers to predict: tables with a step a row, archives, `.ts` files; groups and what leaks."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corinth.data import SequenceData, SequenceStore, SeriesEncoding, open_data
from corinth.data.preflight import preflight
from corinth.data.sequences.source import MeasuredSource, SeriesSource
from corinth.errors import CorinthError, DataError, UsageError
from sequence_sets import STEPS, cells, write_steps

HEAD = "cell,cycle,seconds,volts,noise,capacity\n"


def opened(path: Path, **options: Any) -> tuple[SequenceData, MeasuredSource]:
    data = open_data(path, **(STEPS | options))
    assert isinstance(data, SequenceData)
    assert isinstance(data.source, MeasuredSource)
    return data, data.source


# ---- tables with a step a row ----


def test_a_row_is_a_step(tmp_path: Path) -> None:
    curves = cells()
    data, source = opened(write_steps(tmp_path / "t.csv", curves))
    assert data.task == "sequence-regression"
    assert data.classes == ()
    assert source.channel_names == ("volts", "noise")  # not the time, nor what tells sequences apart
    assert source.groups == tuple(cell for cell, _ in curves)
    assert source.order == tuple(float(cycle) for _, cycle in curves)
    assert (source.order_name, source.target_name) == ("cycle", "capacity")
    for i, (values, target) in enumerate(curves.values()):
        np.testing.assert_allclose(source.sequence(i), values, atol=1e-6)
        assert source.target(i) == pytest.approx(target, abs=1e-6)
    assert source.name(9) == "t.csv, cell B, cycle 2"
    said = " ".join(data.notes)
    assert "sequences are told apart by 'cell', 'cycle'" in said
    assert "the time 'seconds' orders the steps and is no input" in said
    moved, _ = opened(write_steps(tmp_path / "t.csv", cells(seed=1)))
    assert moved.fingerprint != data.fingerprint


@pytest.mark.parametrize("suffix", ["tsv", "parquet"])
def test_other_kinds_of_tables_are_the_same_data(tmp_path: Path, suffix: str) -> None:
    pandas = pytest.importorskip("pandas")
    path = write_steps(tmp_path / "t.csv", cells())
    frame, other = pandas.read_csv(path), tmp_path / f"t.{suffix}"
    frame.to_parquet(other) if suffix == "parquet" else frame.to_csv(other, sep="\t", index=False)
    (a, ours), (b, theirs) = opened(path), opened(other)
    for i in range(len(a)):
        np.testing.assert_allclose(theirs.sequence(i), ours.sequence(i), atol=1e-6)
    assert {part: rows.tolist() for part, rows in a.splits.items()} == {p: r.tolist() for p, r in b.splits.items()}


def test_text_is_a_class(tmp_path: Path) -> None:
    rows = [f"{i},{s},{s * i},{'ab'[i % 2]}" for i in range(24) for s in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["who,step,x,mood", *rows]))
    for option in ("target_column", "label_column"):
        data = open_data(tmp_path / "t.csv", group_column="who", time_column="step", **{option: "mood"})
        assert (data.task, data.classes) == ("sequence-classification", ("a", "b"))
        assert not isinstance(data.source, MeasuredSource)
        assert isinstance(data.source, SeriesSource)


def test_dates_are_times_and_channels_can_be_named(tmp_path: Path) -> None:
    rows = [f"{i},2026-01-0{s + 1}T12:00:00,{s * i},{i / 7}" for i in range(24) for s in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["who,when,x,much", *rows]))
    how = {"group_column": "who", "target_column": "much", "time_column": "when"}
    assert open_data(tmp_path / "t.csv", **how).source.channel_names == ("x",)
    write_steps(tmp_path / "u.csv", cells())
    _, source = opened(tmp_path / "u.csv", channel_columns="seconds,volts")
    assert source.channel_names == ("seconds", "volts")
    assert source.sequence(0)[:2, 0].tolist() == [0, 10]


def test_a_cell_that_is_missing_says_nothing_of_its_column(tmp_path: Path) -> None:
    rows = [f"A,{i},{'NA' if i < 5 else i},{i},1,{'?' if i < 5 else i}\n" * 2 for i in range(30)]
    (tmp_path / "t.csv").write_text(HEAD + "".join(rows), encoding="utf-8")
    data, source = opened(tmp_path / "t.csv", time_column=None, split_group=None, max_corrupt=0.5)
    assert source.channel_names == ("seconds", "volts", "noise")
    assert source.targets.tolist() == list(range(5, 30))
    assert len(data.corrupt) == 5


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone cannot be changed here")
def test_dates_mean_the_same_in_every_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = ["2026-03-29T01:30", "2026-03-29T02:30", "2026-03-29T03:00"]  # in Berlin there was no second of them
    rows = [f"A,{i},{hour},{i},1,{i}\n" for i in range(30) for hour in hours]
    (tmp_path / "t.csv").write_text(HEAD + "".join(rows), encoding="utf-8")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        data, _ = opened(tmp_path / "t.csv", split_group=None)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert len(data) == 30


def test_parts_that_a_column_declares(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "t.csv", cells())
    lines = path.read_text().splitlines()
    part = {"A": "train", "B": "train", "C": "val", "D": "test", "c": "split"}
    path.write_text("\n".join(f"{line},{part[line[0]]}" for line in lines))
    data, source = opened(path)
    assert data.declared_splits == ("train", "val", "test")
    assert {source.groups[i] for i in data.positions("test")} == {"D"}
    with pytest.raises(UsageError, match="test_groups B and the parts that the data declare"):
        opened(path, test_groups="B")


ROW = "A,1,0,3.5,1,2\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROW + "A,1,0,3.6,1,2\n", "line 3: the time 0 stands twice in the sequence A, 1; the times of a sequence must"),
        ("A,1,5,3.5,1,2\nA,1,4,3.6,1,2\n", "line 3: the time 4 comes after 5 in the sequence A, 1"),
        (ROW + "A,1,soon,3.6,1,2\n", "line 3: column 'seconds' says 'soon'; times are numbers, or dates"),
        (ROW + "A,1,nan,3.6,1,2\n", "line 3: column 'seconds' says 'nan', which is no time"),
        (ROW + "A,1,1,high,1,2\n", "line 3: column 'volts' says 'high', which is no number"),
        (ROW + "A,1,1,3.6,1,much\n", "line 3: column 'capacity' says 'much', which is no number"),
        (ROW + "A,1,1,3.6,1,3\n", "line 3: the target 'capacity' is 3 and at line 2 2, in one sequence; it needs one"),
        (ROW + ",1,1,3.6,1,2\n", "line 3: column 'cell' is empty; every row needs the sequence it belongs to"),
        ("A,1,0,3.5,1,\n", "its capacity is missing"),
        ("A,1,0,3.5,1,inf\n", "its capacity is not finite"),
        (ROW + "A,1,1,,1,2\n", "the value of 'volts' at line 3 is missing"),
        (ROW + "A,1,1,inf,1,2\n", "the value of 'volts' at line 3 is not finite"),
        ("", "the table has no rows"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(HEAD + rows)
    with pytest.raises(DataError) as caught:
        open_data(tmp_path / "t.csv", **STEPS)
    assert message in str(caught.value)
    assert str(tmp_path / "t.csv") in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"group_column": None},
            "group_column is needed, which says what sequence a row belongs to; the columns are cell",
        ),
        ({"group_column": "cell,cylce"}, "group_column 'cylce' is not there; the columns are cell, cycle, seconds"),
        ({"target_column": "soh"}, "target_column 'soh' is not there"),
        ({"time_column": "t"}, "time_column 't' is not there"),
        ({"channel_columns": "volts,amps"}, "channel_columns 'amps' is not there"),
        ({"split_group": "lot"}, "split_group 'lot' is not there"),
        ({"target_column": None}, "one of them must say what is to be predicted"),
        ({"label_column": "noise"}, "target_column is a number or label_column a class; give one of them"),
        ({"channel_columns": "volts,capacity"}, "'capacity' is to be predicted, so it cannot be an input"),
        ({"text_column": "noise"}, "text_column and group_column are two kinds of data"),
        ({"test_groups": "E"}, "test_groups 'E' is no group; there are A, B, C, D"),
        ({"test_groups": "A", "val_groups": "A"}, "'A' is in val_groups and in test_groups"),
        ({"test_groups": "A,B,C,D"}, "every group is held out"),
        ({"split_group": None, "test_groups": "A"}, "test_groups A needs groups; name their column with split_group"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = write_steps(tmp_path / "t.csv", cells())
    with pytest.raises(UsageError) as caught:
        open_data(path, **(STEPS | options))
    assert message in str(caught.value)


def test_a_sequence_that_cannot_be_used_is_left_out_and_said(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "t.csv", cells(each=12))
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace(lines[1].split(",")[3], "")
    path.write_text("\n".join(lines))
    data, _ = opened(path)
    assert len(data) == 47
    assert data.corrupt == (("t.csv, cell A, cycle 1", "the value of 'volts' at line 2 is missing"),)
    with pytest.raises(DataError, match="1 of 48 series cannot be used"):
        opened(path, max_corrupt=0.0)


# ---- groups ----


def test_groups_stay_together(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "t.csv", cells(names="ABCDEF"))
    seen = set()
    for seed in range(6):
        data, source = opened(path, split_seed=seed)
        parts = {part: {source.groups[i] for i in rows} for part, rows in data.splits.items()}
        assert sorted(name for names in parts.values() for name in names) == list("ABCDEF")
        assert min(map(len, parts.values())) >= 1
        assert f"test: {', '.join(sorted(parts['test']))}" in " ".join(data.notes)
        again, _ = opened(path, split_seed=seed)
        assert again.fingerprint == data.fingerprint
        seen.add(frozenset(parts["test"]))
    assert len(seen) > 1
    with pytest.raises(DataError, match="there are 2 different groups, and 3 are needed"):
        opened(write_steps(tmp_path / "few.csv", cells(names="AB")))


def test_groups_in_several_of_the_parts_that_a_table_declares_are_said(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "t.csv", cells())
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    parts = ["test" if line.startswith("D") or line.split(",")[1] == "8" else "train" for line in lines]
    content = [f"{head},split", *(f"{line},{part}" for line, part in zip(lines, parts, strict=True))]
    path.write_text("\n".join(content), encoding="utf-8")
    said = [finding.text for finding in preflight(opened(path, val_share=0.0)[0]).findings]
    torn = [text for text in said if "lie in more than one of the parts that the data declare" in text]
    assert [text.rpartition(": ")[2] for text in torn] == ["A, B, C"]
    assert "3 groups lie" in torn[0]


def test_groups_of_several_classes_stay_together_whatever_comes_first(tmp_path: Path) -> None:
    steps = [(f"{person}{(k + person) % 4}", person, "abcd"[(k + person) % 4]) for person in range(7) for k in range(4)]
    rows = "".join(f"{name},{person},{i},{label}\n" for name, person, label in steps for i in range(3))
    (tmp_path / "t.csv").write_text("name,person,volts,label\n" + rows, encoding="utf-8")
    data = open_data(tmp_path / "t.csv", group_column="name", label_column="label", split_group="person")
    assert {part: len(rows) for part, rows in data.splits.items()} == {"train": 16, "val": 4, "test": 8}
    held = [{data.source.groups[i] for i in rows} for rows in data.splits.values()]
    assert sum(map(len, held)) == 7


def test_an_empty_cell_names_no_group(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,person,volts,label\na,1,0.1,x\nb,,0.2,y\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.csv, line 3: column 'person' is empty; every sequence needs a group"):
        open_data(tmp_path / "t.csv", group_column="name", label_column="label", split_group="person")


def test_chosen_groups_are_held_out(tmp_path: Path) -> None:
    path = write_steps(tmp_path / "t.csv", cells())
    data, source = opened(path, test_groups="B,D", val_groups="A")
    assert {p: {source.groups[i] for i in rows} for p, rows in data.splits.items()} == {
        "train": {"C"},
        "val": {"A"},
        "test": {"B", "D"},
    }
    data, source = opened(path, test_groups=["B"])
    assert {source.groups[i] for i in data.positions("test")} == {"B"}
    assert len({source.groups[i] for i in data.positions("val")}) == 1  # whole, too
    data, _ = opened(path, test_groups="B", val_share=0)
    assert [len(rows) for rows in data.splits.values()] == [24, 0, 8]


# ---- archives and .ts ----


def archive(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {"x": rng.normal(size=(20, 5, 2)), "y": rng.normal(size=20)}
    np.savez(path, **{name: values for name, values in (arrays | changes).items() if values is not None})
    return path


def test_an_archive_with_numbers(tmp_path: Path) -> None:
    y, order = np.linspace(1, 2, 20), np.arange(20)[::-1]
    group = np.repeat(["a", "b", "c", "d"], 5)
    path = archive(tmp_path / "a.npz", y=y, group=group, order=order)
    data = open_data(path, test_groups="b", val_share=0)
    assert data.task == "sequence-regression"
    np.testing.assert_array_equal(data.source.targets, y)
    assert data.positions("test").tolist() == [5, 6, 7, 8, 9]
    assert data.source.order == tuple(order.tolist())
    whole = archive(tmp_path / "b.npz", y=np.arange(20) // 5)
    assert open_data(whole).task == "sequence-classification"
    assert open_data(whole, target_column="y").task == "sequence-regression"
    other = archive(tmp_path / "c.npz", y=None, soh=y)
    assert open_data(other, target_column="soh").source.target_name == "soh"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.append(np.full(19, 0.5), np.nan)}, "x[19]: its target is missing"),
        ({"y": np.append(np.full(19, 0.5), np.inf)}, "x[19]: its target is not finite"),
        ({"y": np.full(19, 0.5)}, "y is float64 (19,); it needs a number for each of 20 series"),
        ({"group": np.arange(19)}, "group is int64 (19,); it needs a whole number or a text for each series"),
        ({"order": np.array(["x"] * 20)}, "order is <U1 (20,); it needs a number for each series"),
        ({"lengths": np.append(np.full(19, 5), 0)}, "x[19]: the series has no steps"),
    ],
)
def test_archives_that_cannot_be_used(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_data(archive(tmp_path / "a.npz", **changes), max_corrupt=0.0)
    assert message in str(caught.value)


def test_options_of_tables_and_archives(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has x and no soh; every series needs a label or a number"):
        open_data(archive(tmp_path / "a.npz"), target_column="soh")
    with pytest.raises(UsageError, match="holds time series; group_column belongs to a table"):
        open_data(tmp_path / "a.npz", group_column="cell")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="is no table; group_column belongs to one with a step a row"):
        open_data(tmp_path / "folder", group_column="cell")


def test_targets_of_a_ts_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases = [f"{','.join(f'{v:.3f}' for v in rng.normal(size=6))}:{target:.2f}" for target in np.linspace(0, 1, 20)]
    path = tmp_path / "t.ts"
    path.write_text("\n".join(["@problemName t", "@targetLabel true", "@data", *cases]))
    data = open_data(path)
    assert data.task == "sequence-regression"
    np.testing.assert_allclose(data.source.targets, np.linspace(0, 1, 20), atol=0.006)
    path.write_text("\n".join(["@targetLabel true", "@data", *cases[:-1], "1,2,3:many"]))
    with pytest.raises(DataError, match=r"t\.ts, line 22: the target 'many' is no number"):
        open_data(path)


# ---- what belongs to the weights, and what gives the target away ----


def test_the_scale_of_the_target_is_that_of_the_training_part(tmp_path: Path) -> None:
    data, source = opened(write_steps(tmp_path / "t.csv", cells()), test_groups="B")
    encoding = SeriesEncoding.measured(data, max_len=None)
    trained = source.targets[data.positions("train")]
    assert encoding.target_mean == pytest.approx(trained.mean())
    assert encoding.target_std == pytest.approx(trained.std())
    store = SequenceStore(data, "test", encoding)
    _, _, targets = next(iter(store.stream([store.index * 0 + 0])))
    first = source.targets[data.positions("test")[0]]
    assert targets[0].item() == pytest.approx((first - trained.mean()) / trained.std(), rel=1e-5)
    same = {key: (values, 2.0) for key, (values, _) in cells().items()}
    data, _ = opened(write_steps(tmp_path / "same.csv", same))
    with pytest.raises(DataError, match="every training sequence has the target 2, so there is nothing to learn"):
        SeriesEncoding.measured(data, max_len=None)


def warnings_of(data: SequenceData) -> list[str]:
    return [finding.text for finding in preflight(data).findings if finding.severity == "warning"]


def test_what_gives_the_target_away_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = rng.uniform(1, 2, 40)
    x = rng.normal(size=(40, 6, 3))
    data = open_data(archive(tmp_path / "clean.npz", x=x, y=target))
    assert isinstance(data, SequenceData)
    assert warnings_of(data) == []
    for number, change in enumerate(("last", "mean", "first")):
        leaky = x.copy()
        if change == "mean":
            leaky[:, :, 1] += (3 * target - leaky[:, :, 1].mean(1))[:, None]
        else:
            leaky[:, -1 if change == "last" else 0, 1] = 3 - 5 * target
        data = open_data(archive(tmp_path / f"{number}.npz", x=leaky, y=target))
        assert isinstance(data, SequenceData)
        (text,) = warnings_of(data)
        assert f"the {change}{'' if change == 'mean' else ' value'} of channel 2 gives the target away" in text
    lengths = (100 * target).astype(int)
    data = open_data(archive(tmp_path / "l.npz", x=rng.normal(size=(40, 200, 1)), y=target, lengths=lengths))
    assert isinstance(data, SequenceData)
    (text,) = warnings_of(data)
    assert "the number of steps of a series gives its target away" in text


def test_what_gives_the_target_away_in_every_group_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target, group = rng.uniform(1, 2, 48), np.repeat(np.arange(3), 16)
    x = rng.normal(size=(48, 6, 1))
    x[:, -1, 0] = (group + 1) * target + group  # one line for each group, and no line for all
    data = open_data(archive(tmp_path / "a.npz", x=x, y=target, group=group), test_groups="0", val_share=0)
    assert isinstance(data, SequenceData)
    assert any("the last value of channel 1 gives the target away" in text for text in warnings_of(data))
    data = open_data(archive(tmp_path / "b.npz", x=x, y=target))
    assert isinstance(data, SequenceData)
    assert warnings_of(data) == []


def test_identical_series_with_different_targets_are_said(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 5, 1))
    x[3] = x[2]
    data = open_data(archive(tmp_path / "a.npz", x=x))
    assert isinstance(data, SequenceData)
    assert any("appears with different targets" in text for text in warnings_of(data))


def test_images_have_no_groups(tmp_path: Path) -> None:
    with pytest.raises(CorinthError, match="group_column"):
        open_data("digits", group_column="cell")
    with pytest.raises(UsageError, match="test_groups a needs groups"):
        open_data("digits", test_groups="a")
