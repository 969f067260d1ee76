"""Clips with a class for every frame: archives and folders; series with a class for every step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clip_sets import clips, write_archive, write_folders
from corinth.data import SequenceData, SequenceStore, open_data
from corinth.data.preflight import preflight
from corinth.data.preparation import preparation_from_dict
from corinth.data.sequences.batch import NO_TAG, Sequences
from corinth.data.sequences.clip_encoding import ClipEncoding
from corinth.data.sequences.clip_folders import frame_files
from corinth.data.sequences.clips import ClipSource
from corinth.data.sequences.source import SteppedSource
from corinth.errors import CorinthError, DataError


def opened(path: Path, **options: Any) -> tuple[SequenceData, ClipSource]:
    data = open_data(path, **options)
    assert isinstance(data, SequenceData)
    assert isinstance(data.source, ClipSource)
    return data, data.source


# ---- archives ----


def test_an_archive_of_clips(tmp_path: Path) -> None:
    data, source = opened(write_archive(tmp_path / "c.npz"))
    frames, labels = clips()
    assert (data.task, data.classes, source.unit) == ("frame-classification", ("bright", "dark", "dim"), "clip")
    for i, (pixels, said) in enumerate(zip(frames, labels)):
        np.testing.assert_array_equal(source.sequence(i)[..., 0], pixels)
        assert [data.classes[tag] for tag in source.target(i)] == said
    assert source.name(3) == "c.npz, x[3]"
    assert data.describe().endswith("frames, 8 x 8 pixels, grey")
    assert "frames are 8 x 8 pixels, grey; all clips take 0.0 MB of memory" in data.notes
    assert preflight(data).ok
    assert preflight(data).lines()[1] == "3 to 8 frames (median 5)"
    other, _ = opened(write_archive(tmp_path / "c.npz", seed=1))
    assert other.fingerprint != data.fingerprint


def test_numbers_colour_and_one_label_a_clip(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (20, 4, 6, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(80).reshape(20, 4) % 11)
    data, source = opened(tmp_path / "a.npz")
    assert data.classes == tuple(map(str, range(11)))
    assert source.frame_shape == (6, 5, 3)
    np.savez(tmp_path / "b.npz", x=x, y=np.arange(20) % 2)
    data, source = opened(tmp_path / "b.npz")
    assert [set(tags.tolist()) for tags in source.tags[:2]] == [{0}, {1}]


def test_parts_and_groups_of_an_archive(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (12, 3, 8, 8), dtype=np.uint8)
    y = np.arange(36).reshape(12, 3) % 2
    np.savez(tmp_path / "p.npz", x_train=x[:8], y_train=y[:8], x_test=x[8:], y_test=y[8:])
    data, _ = opened(tmp_path / "p.npz")
    assert data.declared_splits == ("train", "test")
    np.savez(tmp_path / "g.npz", x=x, y=y, group=np.repeat(["ann", "bob", "cy", "di"], 3))
    data, source = opened(tmp_path / "g.npz", test_groups="bob", val_groups="cy")
    assert {source.groups[i] for i in data.positions("test")} == {"bob"}


X = np.zeros((3, 4, 8, 8), dtype=np.uint8)
Y = np.array([["a", "b", "a", "b"]] * 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "has x and no y; every frame needs a label"),
        ({"x": X.astype(float), "y": Y}, "x is float64; the pixels of frames are uint8, from 0 to 255"),
        ({"x": X * np.nan, "y": Y}, "x is float64 and has values that are missing or not finite; the pixels"),
        ({"x": X[..., None].repeat(2, 4), "y": Y}, r"clips are \(N, T, H, W\) or \(N, T, H, W, 1 or 3\)"),
        (
            {"x": X, "y": Y[:, :3]},
            r"y has the shape \(3, 3\), and x \(3, 4, 8, 8, 1\); a label for each step is \(3, 4\)",
        ),
        ({"x": X[:, :3], "y": Y}, r"y has the shape \(3, 4\), and x \(3, 3, 8, 8, 1\)"),
        (
            {"x": X, "y": np.array([["a", "b", "", "b"]] * 3)},
            r"y\[0, 2\] is empty; every step within lengths needs a label",
        ),
        ({"x": X, "y": np.full((3, 4), np.nan)}, r"y\[0, 0\] is empty"),
        ({"x": X, "y": np.full((3, 4), 0.5)}, "y is float64; labels are whole numbers or text"),
        ({"x": X, "y": Y, "lengths": [4, 5, 1]}, "lengths must be 3 whole numbers from 0 to 4"),
        ({"x": X, "y": Y, "lengths": [4, -1, 1]}, "lengths must be 3 whole numbers from 0 to 4"),
        ({"x": X, "y": Y, "lengths": [4, 0, 1]}, "1 of 3 clips cannot be used .* x.1.: the clip has no frames"),
    ],
)
def test_archives_that_cannot_be_used(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        open_data(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def test_labels_behind_an_end_say_nothing(tmp_path: Path) -> None:
    y = np.array([[0, 1, -100, 7]] * 12)
    x = np.random.default_rng(0).integers(0, 255, (12, 4, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "c.npz", x=x, y=y, lengths=np.full(12, 2))
    assert opened(tmp_path / "c.npz")[0].classes == ("0", "1")


@pytest.mark.parametrize(("option", "value"), [("label_column", "y"), ("group_column", "x")])
def test_columns_are_of_tables(tmp_path: Path, option: str, value: str) -> None:
    write_archive(tmp_path / "c.npz")
    write_folders(tmp_path / "f", {"": 3})
    for path in (tmp_path / "c.npz", tmp_path / "f"):
        with pytest.raises(CorinthError, match=option):
            open_data(path, **{option: value})


# ---- folders ----


def test_folders_of_frames(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "set", {"train": 6, "val": 3, "test": 4})
    data, source = opened(root)
    assert {part: len(rows) for part, rows in data.splits.items()} == {"train": 6, "val": 3, "test": 4}
    frames, labels = clips(6)
    for i in data.positions("train"):
        place = int(source.name(int(i)).removeprefix("train/clip"))
        np.testing.assert_array_equal(source.sequence(int(i))[..., 0], frames[place])  # 8.png stands before 10.png
        assert [data.classes[tag] for tag in source.target(int(i))] == labels[place]
    whole, _ = opened(write_folders(tmp_path / "whole", {"": 12}))
    assert whole.declared_splits == ()
    assert len(whole) == 12


def test_frames_by_name_without_ending_and_in_colour(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "set", {"": 6})
    labels = root / "labels.csv"
    labels.write_text(labels.read_text().replace(".png", ""))
    Image.new("RGB", (8, 8), (9, 5, 1)).save(root / "clip0" / "8.png")
    _, source = opened(root)
    assert source.frame_shape == (8, 8, 3)
    assert source.sequence(0)[0, 0, 0].tolist() == [9, 5, 1]
    assert len(set(source.sequence(1)[0, 0, 0].tolist())) == 1
    assert [file.name for file in frame_files(root / "clip0")][:3] == ["8.png", "9.png", "10.png"]


def broken(root: Path, what: str) -> None:
    labels = root / "labels.csv"
    lines = labels.read_text().splitlines()
    match what:
        case "size":
            Image.new("L", (9, 8)).save(root / "clip0" / "9.png")
        case "unreadable":
            (root / "clip0" / "9.png").write_bytes(b"\x89PNG and no more")
        case "no frames":
            (root / "empty").mkdir()
        case "frame without label":
            labels.write_text("\n".join(line for line in lines if not line.startswith("clip0,9.png")))
        case "label without frame":
            labels.write_text("\n".join([*lines, "clip0,99.png,dim"]))
        case "label without clip":
            labels.write_text("\n".join([*lines, "clip77,8.png,dim"]))
        case "two labels":
            labels.write_text("\n".join([*lines, "clip0,8.png,other"]))
        case "empty label":
            labels.write_text("\n".join([*lines, "clip0,8.png,"]))
        case "other clip":
            for file in (root / "clip1").iterdir():
                Image.new("L", (9, 9)).save(file)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("size", "clip0: frame 9.png is 8 x 9 and 8.png 8 x 8; all frames of a clip need one size"),
        ("unreadable", "clip0: frame 9.png: not an image in a format that is read here"),
        ("no frames", "empty: the clip has no frames"),
        ("frame without label", "clip0/9.png has no label in .*labels.csv; every frame needs one"),
        ("label without frame", "labels.csv, line 2: clip 'clip0' has a label for frame '99.png' and no such frame"),
        ("label without clip", "there is no clip 'clip77' beside labels.csv"),
        ("two labels", "frame '8.png' of clip 'clip0' has a label already, '(dark|dim|bright)'"),
        ("empty label", "column 'label' is empty; every frame needs a label"),
        ("other clip", "the frames of clip1 are 9 x 9 and those of clip0 8 x 8; bring all clips to one size"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, what: str, message: str) -> None:
    root = write_folders(tmp_path / "set", {"": 6})
    broken(root, what)
    with pytest.raises(DataError, match=message):
        open_data(root)


def test_a_share_of_damaged_clips_is_left_out(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "set", {"": 12})
    broken(root, "unreadable")
    data, _ = opened(root, max_corrupt=0.1)
    assert len(data) == 11
    assert data.corrupt[0][0] == "clip0"


# ---- encoding and batches ----


def test_frames_stay_bytes_and_become_standard(tmp_path: Path) -> None:
    data, source = opened(write_archive(tmp_path / "c.npz"))
    encoding = ClipEncoding.measured(data, max_len=None)
    seen = np.concatenate([source.sequence(int(i)).ravel() for i in data.positions("train")]) / 255
    assert encoding.mean[0] == pytest.approx(seen.mean())
    assert encoding.std[0] == pytest.approx(seen.std())
    assert preparation_from_dict(encoding.to_dict()) == encoding
    store = SequenceStore(data, "train", encoding)
    assert store.rows[0].dtype == torch.uint8
    rows, inputs, targets = next(store.stream([torch.arange(4)]))
    ready = store.ready(inputs)
    assert ready.values.shape == (4, int(inputs.lengths.max()), 1, 8, 8)
    for row, length in zip(rows.tolist(), inputs.lengths.tolist()):
        pixels = source.sequence(int(store.index[row]))[..., 0] / 255
        expected = (pixels - encoding.mean[0]) / encoding.std[0]
        np.testing.assert_allclose(ready.values[row, :length, 0].numpy(), expected, rtol=1e-4, atol=1e-5)
        assert not ready.values[row, length:].any()
        assert (targets[row, length:] == NO_TAG).all()
        assert (targets[row, :length] >= 0).all()
    alone = encoding([source.sequence(0)])[0]
    torch.testing.assert_close(alone, encoding.finish(Sequences.of(encoding.rows([source.sequence(0)]))).values[0])


def test_training_clips_are_cut_with_their_labels(tmp_path: Path) -> None:
    data, source = opened(write_archive(tmp_path / "c.npz"))
    store = SequenceStore(data, "train", ClipEncoding.measured(data, max_len=4))
    assert int(store.lengths.max()) == 4
    for row, position in enumerate(store.index.tolist()):
        assert store.targets[row].tolist() == source.target(position)[:4].tolist()


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (np.zeros((2, 8, 8)), r"a clip here is uint8 \(frames, 8, 8, 1\), and this one is float64 \(2, 8, 8, 1\)"),
        (np.zeros((2, 9, 8), np.uint8), r"this one is \(2, 9, 8, 1\); bring its frames to that size"),
        (np.zeros((0, 8, 8), np.uint8), "the clip has no frames"),
        (np.zeros((8, 8), np.uint8), "this one is uint8"),
    ],
)
def test_clips_that_do_not_fit_the_network(tmp_path: Path, clip: np.ndarray, message: str) -> None:
    data, _ = opened(write_archive(tmp_path / "c.npz"))
    with pytest.raises(DataError, match=message):
        ClipEncoding.measured(data, max_len=None)([clip])


# ---- series ----


def test_series_with_a_class_for_every_step(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 6, 2)), rng.integers(0, 3, (20, 6))
    lengths = rng.integers(1, 7, 20)
    np.savez(tmp_path / "s.npz", x=x, y=y, lengths=lengths)
    data = open_data(tmp_path / "s.npz")
    assert data.task == "frame-classification"
    assert isinstance(data.source, SteppedSource)
    for i in range(20):
        assert [data.classes[tag] for tag in data.source.target(i)] == [str(label) for label in y[i, : lengths[i]]]


def write_steps(path: Path, *, constant: bool = False) -> Path:
    rows = [f"{i},{s},{s * i},{'ab'[i % 2 if constant else (s // 2 + i) % 2]}" for i in range(24) for s in range(4)]
    path.write_text("\n".join(["who,step,x,mood", *rows]))
    return path


def test_a_label_that_changes_within_a_sequence_is_one_of_steps(tmp_path: Path) -> None:
    how = {"group_column": "who", "time_column": "step", "label_column": "mood"}
    data = open_data(write_steps(tmp_path / "t.csv"), **how)
    assert data.task == "frame-classification"
    assert isinstance(data.source, SteppedSource)
    assert [data.classes[tag] for tag in data.source.target(1)] == ["b", "b", "a", "a"]
    assert "'mood' changes within 24 of 24 sequences, so it is to be predicted at every step" in data.notes
    fixed = write_steps(tmp_path / "u.csv", constant=True)
    assert open_data(fixed, **how).task == "sequence-classification"
    asked = open_data(fixed, **how, task="frame-classification", classes=("b", "a"))
    assert isinstance(asked.source, SteppedSource)
    assert [asked.source.classes[tag] for tag in asked.source.target(1)] == ["b"] * 4
    assert "every step has the label of its series" in asked.notes
    same = write_steps(tmp_path / "s.csv")
    same.write_text("\n".join(line[:-1] + "a" if i else line for i, line in enumerate(same.read_text().split())))
    with pytest.raises(DataError, match="has only one label, 'a'; at least two are needed to tell apart"):
        open_data(same, **how, task="frame-classification")
    with pytest.raises(DataError, match="the label 'a' was not seen in training; the run knows b, c"):
        open_data(fixed, **how, task="frame-classification", classes=("b", "c"))
    (tmp_path / "v.csv").write_text((tmp_path / "t.csv").read_text().replace("3,2,6,a", "3,2,6,"))
    with pytest.raises(
        DataError, match=r"v\.csv, line 16: column 'mood' is empty; every sequence, or every step, needs"
    ):
        open_data(tmp_path / "v.csv", **how)


# ---- tables of numbers without a header ----


def test_a_table_without_a_header(tmp_path: Path) -> None:
    rows = [f"{i % 3},{i / 7:.3f},{-i},0.5" for i in range(60)]
    path = tmp_path / "points.csv"
    path.write_text("\n".join(rows))
    with pytest.raises(DataError, match="has no header, so its columns are called 1 to 4; name the one with"):
        open_data(path)
    data = open_data(path, label_column="1")
    assert (data.task, len(data), data.classes) == ("tabular-classification", 60, ("0", "1", "2"))
    assert data.source.number_names == ("2", "3", "4")
    assert data.source.name(0) == "points.csv, line 1"
    assert data.source.name(59) == "points.csv, line 60"
    (tmp_path / "years.csv").write_text(
        "2001,2002,class\n" + "\n".join(f"{i},{i * i},{'ab'[i % 2]}" for i in range(40))
    )
    assert open_data(tmp_path / "years.csv").source.number_names == ("2001", "2002")
    path.write_text("\n".join([*rows, "1,2"]))
    with pytest.raises(DataError, match="line 61: 2 values for 4 columns"):
        open_data(path, label_column="1")
