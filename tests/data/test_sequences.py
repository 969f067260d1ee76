"""Texts and time series: files and batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corinth.data import ArraySource, Loader, SequenceData, Sequences, SequenceStore, open_data
from corinth.data.preflight import Lengths, preflight
from corinth.data.sequences.encoding import TextEncoding
from corinth.data.sequences.source import SeriesSource, TextSource
from corinth.data.sequences.store import arrange
from corinth.errors import DataError, UsageError
from sequence_sets import text_rows, waves, write_table, write_ts


def sequences(spec: str | Path, **options: Any) -> SequenceData:
    data = open_data(spec, **options)
    assert isinstance(data, SequenceData)
    return data


def text_encoding(data: SequenceData, **options: Any) -> TextEncoding:
    usual: dict[str, Any] = {"tokenizer": "word", "vocab_size": 100, "lowercase": True, "max_len": None}
    return TextEncoding.trained(data, **(usual | options))


# ---- files ----


def test_tables_of_the_parts_without_headers(tmp_path: Path) -> None:
    rows = text_rows()
    for part, chosen in (("train", rows[::2]), ("dev", rows[1::4]), ("test", rows[3::4])):
        write_table(tmp_path / f"{part}.tsv", chosen, header=None)
    data = sequences(tmp_path)
    assert data.task == "sequence-classification"
    assert {part: len(positions) for part, positions in data.splits.items()} == {"train": 20, "val": 10, "test": 10}
    assert data.declared_splits == ("train", "val", "test")
    assert data.classes == ("bad", "good")
    texts = {data.source.sequence(i): data.classes[data.source.labels[i]] for i in range(len(data))}
    assert texts == dict(rows)
    first = data.positions("train")[0]
    assert data.source.name(int(first)) == "train.tsv, line 1"
    assert any("no header" in note for note in data.notes)


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.tsv"])
def test_one_table_is_split_here(tmp_path: Path, name: str) -> None:
    rows = text_rows()
    path = tmp_path / name
    separator = "," if name.endswith("csv") else "\t"
    path.write_text("\n".join([separator.join(("Review", "Label")), *(f'"{t}"{separator}{y}' for t, y in rows)]))
    data = sequences(path)
    assert sorted(map(data.source.sequence, range(40))) == sorted(text for text, _ in rows)
    assert {part: len(positions) for part, positions in data.splits.items()} == {"train": 28, "val": 4, "test": 8}
    assert "texts with identical bytes stay together" in " ".join(data.notes)
    assert sequences(path).fingerprint == data.fingerprint
    assert sequences(path, split_seed=1).fingerprint != data.fingerprint


def test_parquet_and_named_columns(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = text_rows()
    frame = pandas.DataFrame({"said": [t for t, _ in rows], "mood": [y for _, y in rows], "n": range(40)})
    frame.to_parquet(tmp_path / "t.parquet")
    data = sequences(tmp_path / "t.parquet", text_column="said", label_column="mood")
    assert isinstance(data.source, TextSource)
    assert set(data.source.texts) == set(frame["said"])
    assert data.source.name(3) == f"{tmp_path}/t.parquet, row 4"
    with pytest.raises(UsageError, match="text_column 'words' is not there; the columns are said, mood, n"):
        open_data(tmp_path / "t.parquet", text_column="words")
    with pytest.raises(UsageError, match="together are for recordings and their transcripts"):
        open_data(tmp_path / "t.parquet", text_column="said", path_column="said")


def test_quotes_and_line_separators_in_a_tsv_are_plain_characters(tmp_path: Path) -> None:
    rows = [(f'she said " yes \u2028 {i}', "a") for i in range(10)] + [(f'"{i}" they asked', "b") for i in range(10)]
    data = sequences(write_table(tmp_path / "t.tsv", rows))
    assert isinstance(data.source, TextSource)
    assert set(data.source.texts) == {text for text, _ in rows}


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for number, (text, label) in enumerate(text_rows()):
        part = ("train", "test")[number % 4 == 3]
        (tmp_path / part / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / part / label / f"{number}.txt").write_text(text)
    data = sequences(tmp_path)
    assert data.declared_splits == ("train", "test")
    assert len(data.positions("test")) == 10
    (tmp_path / "train/good/0.txt").write_bytes(b"fine \xff film")
    with pytest.raises(DataError, match=r"0\.txt: byte 5 \(0xff\) is not UTF-8"):
        open_data(tmp_path)


def test_a_folder_of_images_with_a_text_is_still_one_of_images(
    tmp_path: Path, class_folders: Callable[..., Path]
) -> None:
    class_folders(tmp_path, cat=5, dog=5)
    (tmp_path / "cat/notes.txt").write_text("about cats")
    assert open_data(tmp_path).task == "image-classification"


def test_series_of_the_archive_s_format(tmp_path: Path) -> None:
    series, labels = waves()
    write_ts(tmp_path / "Waves_TRAIN.ts", series[::2], labels[::2])
    write_ts(tmp_path / "Waves_TEST.ts", series[1::2], labels[1::2])
    for spec in (tmp_path / "Waves_TRAIN.ts", tmp_path / "Waves", tmp_path):
        data = sequences(spec)
        assert isinstance(data.source, SeriesSource)
        assert data.name == ("Waves" if spec != tmp_path and spec.suffix == "" else data.name)
        assert data.declared_splits == ("train", "test")
        assert len(data.positions("test")) == 20
        assert data.source.channels == 2
    found = {tuple(np.round(data.source.sequence(i)[0], 3)): i for i in range(40)}
    for values, label in zip(series, labels, strict=True):
        i = found[tuple(np.round(values[0], 3))]
        np.testing.assert_allclose(data.source.sequence(i), values, atol=1e-5)
        assert data.classes[data.source.labels[i]] == label
    write_ts(tmp_path / "Other_TRAIN.ts", series, labels)
    with pytest.raises(UsageError, match=r"holds several data sets; name one of .*Other, .*Waves"):
        open_data(tmp_path)


def test_numpy_archives(tmp_path: Path) -> None:
    series, labels = waves()
    x = np.zeros((40, 30, 2), dtype=np.float64)
    for row, values in zip(x, series, strict=True):
        row[: len(values)] = values
    lengths = np.array([len(values) for values in series])
    np.savez(tmp_path / "w.npz", x=x, y=np.array(labels), lengths=lengths)
    data = sequences(tmp_path / "w.npz")
    assert isinstance(data.source, SeriesSource)
    assert all(np.array_equal(a, b) for a, b in zip(data.source.series, series, strict=True))
    np.savez(
        tmp_path / "p.npz",
        x_train=x[:, :, 0],
        y_train=np.array(labels),
        x_test=x[:4, :, 0],
        y_test=np.array(labels)[:4],
    )
    parts = sequences(tmp_path / "p.npz")
    assert parts.declared_splits == ("train", "test")
    assert parts.source.sequence(0).shape == (30, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,label\n,good\n", r"1 of 1 texts cannot be used .*t\.csv, line 2: the text is empty"),
        ("text,label\nfine,\n", r"line 2: column 'label' is empty; every text needs a label"),
        ("text,mood\nfine,good\n", "none of the columns text, mood looks like the label"),
        ("text,label\n", "the table has no rows; it needs a text and a label"),
        ("text,label\na,b,c\n", r"t\.csv, line 2: 3 values for 2 columns"),
        ('text,label\n"a"b,c\n', r"t\.csv, line 2: .* expected after"),
        ("text,label,split\nfine,good,later\n", r"line 2: column 'split' says 'later'; it can say train"),
    ],
)
def test_a_bad_table_of_texts_is_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        open_data(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"text,label\nna\xefve,good\n")
    with pytest.raises(DataError, match=r"t\.csv: not a readable UTF-8 table \(byte 13 is 0xef\)"):
        open_data(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("1,?,3:4,5,6:slow", r"t\.ts, line 7: the value of channel 1 at step 2 is missing"),
        ("1,nan,inf:4,5,6:slow", r"the value of channel 1 at step 2 is missing, and 1 more"),
        ("1,2,inf:4,5,6:slow", r"the value of channel 1 at step 3 is not finite"),
        ("1,2,x:4,5,6:slow", r"t\.ts, line 7, channel 1: could not convert .*; values are numbers, or \? where"),
        ("1,2,3:4,5:slow", r"t\.ts, line 7: its channels have 2, 3 steps; all need the same"),
        ("::slow", r"t\.ts, line 7: the series has no steps"),
        ("1,2,3:4,5,6:", r"t\.ts, line 7: has no label"),
        ("1,2,3:slow", r"t\.ts, line 8: has 2 channels and t\.ts, line 7 has 1; all series need the same"),
    ],
)
def test_a_bad_series_is_one_sentence(tmp_path: Path, case: str, said: str) -> None:
    path = write_ts(tmp_path / "t.ts", [np.zeros((3, 2), dtype=np.float32)], ["fast"])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:6], case, *lines[6:]]))
    with pytest.raises(DataError, match=said) as caught:
        open_data(path)
    assert "\n" not in str(caught.value)


def test_a_few_bad_series_are_left_out_and_said(tmp_path: Path) -> None:
    series, labels = waves()
    series[7][3, 1] = np.nan
    data = sequences(write_ts(tmp_path / "t.ts", series, labels))
    assert len(data) == 39
    assert data.corrupt == (("t.ts, line 14", "the value of channel 2 at step 4 is missing"),)
    assert any("1 series cannot be used and are left out" in note for note in data.notes)
    report = preflight(data)
    assert report.ok
    assert isinstance(report.measures, Lengths)
    assert report.measures.channels == 2
    assert report.lines()[1] == f"{report.measures.line()}"
    assert "39 series" in report.lines()[0]


def test_bad_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="not a readable NumPy archive"):
        open_data(path)
    x, y = np.zeros((4, 5, 1)), np.array(list("abab"))
    for arrays, said in (
        ({"z": x}, r"has the arrays z; it needs x and y"),
        ({"x": x}, "has x and no y"),
        ({"x": x[0], "y": y}, r"y has the shape \(4,\); it needs a label for each of 5 series"),
        ({"x": x, "y": y[:2]}, "it needs a label for each of 4 series"),
        ({"x": x, "y": y, "lengths": np.array([5, 6, 1, 1])}, "lengths must be 4 whole numbers from 0 to 5"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=said):
            open_data(path)


def test_a_few_texts_in_two_parts_are_warned_of(tmp_path: Path) -> None:
    rows = text_rows()
    write_table(tmp_path / "train.tsv", rows)
    write_table(tmp_path / "test.tsv", [*rows[:1], ("something else", "bad")])
    found = preflight(sequences(tmp_path)).findings
    assert any(f.severity == "warning" and "1 text lies in more than one part" in f.text for f in found)


# ---- batches ----


def test_batches_have_similar_lengths_and_every_row_once() -> None:
    lengths = torch.randint(1, 100, (1003,), generator=torch.Generator().manual_seed(0))
    order = torch.randperm(1003, generator=torch.Generator().manual_seed(1))
    found = arrange(order, lengths, 10)
    assert sorted(found.tolist()) == list(range(1003))
    assert torch.equal(found[1000:], order[1000:])
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in found.split(10))
    shuffled = sum(int(lengths[batch].max()) * len(batch) for batch in order.split(10))
    assert padded < 0.65 * shuffled
    firsts = lengths[found[:1000].view(100, 10)].float().mean(1)
    assert torch.corrcoef(torch.stack([firsts[:32], torch.arange(32.0)]))[0, 1].abs() < 0.6  # not from short to long
    few = torch.randperm(7)
    assert torch.equal(arrange(few, lengths, 10), few)


def test_a_loader_of_sequences(tmp_path: Path) -> None:
    data = sequences(write_table(tmp_path / "t.tsv", text_rows()))
    encoding = text_encoding(data)
    store = SequenceStore(data, "all", encoding)
    loader = Loader(store, 8, shuffle=True, seed=3)
    seen = []
    for batch in loader:
        assert batch.size == 8
        for i, row, length, target in zip(batch.index, batch.inputs.values, batch.inputs.lengths, batch.targets):
            (want,) = encoding([data.source.sequence(int(i))])  # ty: ignore
            assert torch.equal(row[: int(length)], want)
            assert not row[int(length) :].any()
            assert int(target) == data.source.labels[int(i)]
        assert int(batch.inputs.lengths.max()) == batch.inputs.values.shape[1]
        seen += batch.index.tolist()
    assert sorted(seen) == list(range(40))
    again = Loader(store, 8, shuffle=True, seed=3)
    first = next(iter(again))
    rest = Loader(store, 8, shuffle=True, seed=3)
    rest.load_state_dict(again.state_dict())
    assert [*first.index.tolist(), *(i for batch in rest for i in batch.index.tolist())] == seen


def test_parts_of_a_batch_are_no_longer_than_they_need() -> None:
    whole = Sequences.of([torch.arange(n) for n in (5, 4, 2, 1)])
    first, second = whole.tensor_split(2)
    assert (first.values.shape, second.values.shape) == ((2, 5), (2, 2))
    assert second.lengths.tolist() == [2, 1]


def test_shuffled_labels_are_a_control_here_too(tmp_path: Path) -> None:
    data = sequences(write_table(tmp_path / "t.tsv", text_rows()))
    mixed = data.with_shuffled_labels(0)
    test = data.positions("test")
    assert np.array_equal(mixed.source.labels[test], data.source.labels[test])
    assert not np.array_equal(mixed.labels("train"), data.labels("train"))
    assert mixed.fingerprint != data.fingerprint
    assert ArraySource.unit == "image"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "samples", "classes"),
    [
        ("sst2", (6920, 872, 1821), 2),
        ("activity_timeseries/BasicMotions", (36, 4, 40), 4),
        ("activity_timeseries/JapaneseVowels", (243, 27, 370), 9),
    ],
)
def test_real_sets(
    corinth_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, samples: tuple[int, ...], classes: int
) -> None:
    monkeypatch.setenv("CORINTH_DATA", str(corinth_data))
    data = sequences(name)
    assert tuple(len(data.positions(part)) for part in ("train", "val", "test")) == samples
    assert data.num_classes == classes
    assert data.corrupt == ()


# ---- what lies beside other data ----


def test_images_stay_images_beside_tables_and_archives(tmp_path: Path, class_folders: Callable[..., Path]) -> None:
    class_folders(tmp_path / "a", cat=6, dog=6)
    (tmp_path / "a/test.csv").write_text("id,label\n1,cat\n")
    np.savez(tmp_path / "a/embeddings.npz", z=np.zeros(3))
    assert open_data(tmp_path / "a").task == "image-classification"
    class_folders(tmp_path / "b" / "images", cat=6, dog=6)
    rows = [f"images/{p.parent.name}/{p.name},{p.parent.name}" for p in sorted((tmp_path / "b").rglob("*.png"))]
    (tmp_path / "b/train.csv").write_text("\n".join(["path,label", *rows]))
    assert open_data(tmp_path / "b").task == "image-classification"
    (tmp_path / "b/bare.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="looks like the path"):
        open_data(tmp_path / "b/bare.csv")


def test_two_tables_of_one_part_are_refused(tmp_path: Path) -> None:
    for name in ("train.tsv", "training.tsv"):
        write_table(tmp_path / name, text_rows())
    with pytest.raises(UsageError, match=r"train\.tsv and training\.tsv are both the train part; keep one"):
        open_data(tmp_path)


def test_a_small_part_without_header_and_hidden_files(tmp_path: Path) -> None:
    write_table(tmp_path / "train.tsv", text_rows(), header=None)
    write_table(tmp_path / "dev.tsv", [("fine", "good"), ("poor", "bad")], header=None)
    (tmp_path / "._train.tsv").write_bytes(b"\x00\xff")
    assert len(sequences(tmp_path).positions("val")) == 2
    write_ts(tmp_path / "s/W_TRAIN.ts", *waves())
    (tmp_path / "s/._W_TEST.ts").write_bytes(b"\x00\xff")
    assert sequences(tmp_path / "s").num_classes == 2


def test_a_class_that_is_gone_is_an_error(tmp_path: Path) -> None:
    write_table(tmp_path / "t.tsv", [*text_rows(), ("", "meh")])
    with pytest.raises(DataError, match="nothing of class 'meh' can be used"):
        open_data(tmp_path / "t.tsv")


@pytest.mark.parametrize("text", ['a "whole" line\twith a tab', 'two\nlines "of" it'])
def test_a_tsv_that_a_library_wrote_is_read_back(tmp_path: Path, text: str) -> None:
    pandas = pytest.importorskip("pandas")
    rows = [(f"{text} {i}", label) for i in range(10) for label in "ab"]
    frame = pandas.DataFrame(rows, columns=["text", "label"])
    frame.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    data = sequences(tmp_path / "t.tsv", val_share=0.0, test_share=0.0)
    assert isinstance(data.source, TextSource)
    assert sorted(data.source.texts) == sorted(text for text, _ in rows)


def test_blank_lines_before_a_header(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.tsv", text_rows())
    path.write_text("\n\n" + path.read_text())
    data = sequences(path)
    assert len(data) == 40
    assert data.source.name(0).endswith("line 4")


@pytest.mark.parametrize("content", ["@\n@data\n1,2:a\n", ""])
def test_damaged_series_files(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.ts").write_text(content)
    with pytest.raises(DataError, match=r"have no labels|there are no series"):
        open_data(tmp_path / "t.ts")
    (tmp_path / "e.npz").write_bytes(b"")
    with pytest.raises(DataError, match="not a readable NumPy archive"):
        open_data(tmp_path / "e.npz")


def test_labels_of_an_archive(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 5, 1))
    for y, classes in (
        (np.arange(40) % 2 / 1.0, ("0", "1")),
        (np.array([b"a", b"b"] * 20), ("a", "b")),
        (np.arange(40) % 2 == 1, ("False", "True")),
    ):
        np.savez(tmp_path / "w.npz", x=x, y=y)
        assert sequences(tmp_path / "w.npz").classes == classes
    np.savez(tmp_path / "w.npz", x=x, y=np.linspace(0, 1, 40))  # numbers to predict, not classes
    assert sequences(tmp_path / "w.npz").task == "sequence-regression"
    np.savez(tmp_path / "w.npz", x=x, y=np.full(40, 1j))
    with pytest.raises(DataError, match="y is complex128; labels are whole numbers or text"):
        open_data(tmp_path / "w.npz")
