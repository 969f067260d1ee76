"""Splits are stratified, repeatable, and keep copies of one image on one side."""

from collections.abc import Callable
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
from PIL import Image

from corinth.data import ArraySource, open_data
from corinth.data.splits import make_splits
from corinth.errors import DataError, UsageError

Folders = Callable[..., Path]


def source(counts: list[int], seed: int = 0) -> ArraySource:
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 4, 4), dtype=np.uint8)
    return ArraySource(images, labels, tuple(f"c{i}" for i in range(len(counts))), "set")


def split(
    src: ArraySource,
    seed: int = 0,
    val_share: float = 0.1,
    test_share: float = 0.2,
    declared: dict[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    return make_splits(src, declared or {}, seed=seed, val_share=val_share, test_share=test_share, where="set")[0]


def test_every_image_is_in_exactly_one_part() -> None:
    parts = split(source([100, 37, 11]))
    together = np.concatenate(list(parts.values()))
    assert np.array_equal(np.sort(together), np.arange(148))
    assert all(np.array_equal(p, np.sort(p)) for p in parts.values())


def test_every_class_has_its_share_in_every_part() -> None:
    src = source([100, 40, 10])
    parts = split(src)
    counts = {name: np.bincount(src.labels[p], minlength=3).tolist() for name, p in parts.items()}
    assert counts == {"train": [70, 28, 7], "val": [10, 4, 1], "test": [20, 8, 2]}


def test_a_pure_function_of_names_and_seed() -> None:
    first, again, other = split(source([50, 50])), split(source([50, 50], seed=9)), split(source([50, 50]), seed=1)
    for name in first:
        assert np.array_equal(first[name], again[name])  # other pixels, same names
    assert not np.array_equal(first["test"], other["test"])


def test_where_the_data_lies_does_not_matter(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path / "here", cat=9, dog=9)
    here = open_data(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    there = open_data(tmp_path / "there")
    assert all(np.array_equal(here.splits[name], there.splits[name]) for name in here.splits)
    assert here.fingerprint == there.fingerprint


def test_copies_stay_together(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=12, dog=12)
    for name in ("cat", "dog"):
        for i in range(6):
            for k in range(3):
                copy(tmp_path / name / f"{i:03}.png", tmp_path / name / f"copy{k}-{i}.png")
    for seed in range(5):
        data = open_data(tmp_path, split_seed=seed)
        groups = data.source.duplicate_groups()
        held = [set(groups[data.splits[part]].tolist()) for part in ("train", "val", "test")]
        assert not held[0] & held[1]
        assert not held[0] & held[2]
        assert not held[1] & held[2]
        assert all(len(data.splits[part]) for part in data.splits)


def test_files_that_differ_in_one_byte_are_no_copies(tmp_path: Path) -> None:
    """Same length, same end: bitmaps of 64 x 64 that differ in their last row, which the format stores first."""
    for i in range(8):
        image = np.zeros((64, 64), np.uint8)
        image[-1, 0] = i // 2  # each image twice
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "ab"[i % 2] / f"{i}.bmp")
    groups = open_data(tmp_path, val_share=0.0).source.duplicate_groups()  # a: 0 2 4 6, b: 1 3 5 7
    assert groups.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_copies_with_two_labels_stay_together() -> None:
    src = source([30, 30])
    src.images[30:40] = src.images[:10]
    parts = split(src)
    for i in range(10):
        assert [name for name, p in parts.items() if i in p] == [name for name, p in parts.items() if 30 + i in p]


def test_declared_parts_are_not_touched() -> None:
    src = source([20, 20])
    test, train = np.arange(0, 40, 4), np.setdiff1d(np.arange(40), np.arange(0, 40, 4))
    parts = split(src, declared={"train": train, "test": test})
    assert np.array_equal(parts["test"], test)
    assert np.array_equal(np.sort(np.concatenate([parts["train"], parts["val"]])), train)
    whole = split(src, val_share=0.0, declared={"train": train, "test": test})
    assert np.array_equal(whole["train"], train)
    assert len(whole["val"]) == 0


def test_no_leak_into_the_test_part_whatever_the_seed() -> None:
    src = source([40, 40])
    test = np.arange(0, 80, 5)
    train = np.setdiff1d(np.arange(80), test)
    for seed in range(5):
        parts = split(src, seed=seed, declared={"train": train, "test": test})
        assert not set(parts["test"]) & (set(parts["train"]) | set(parts["val"]))
        assert not set(parts["val"]) & set(parts["train"])


def test_a_new_image_does_not_reshuffle_the_others(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=40, dog=40)
    before = open_data(tmp_path)
    class_folders(tmp_path / "more", cat=1)
    (tmp_path / "more" / "cat" / "000.png").rename(tmp_path / "cat" / "new.png")
    (tmp_path / "more" / "cat").rmdir()
    (tmp_path / "more").rmdir()
    after = open_data(tmp_path)

    def names(data, part: str) -> set[str]:
        return {data.source.key(i) for i in data.splits[part]}

    moved = sum(len(names(before, part) - names(after, part)) for part in before.splits)
    assert moved <= 3
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.1, 1.0), (0.5, 0.5)])
def test_bad_shares(val: float, test: float) -> None:
    with pytest.raises(UsageError):
        split(source([10, 10]), val_share=val, test_share=test)


def test_copies_of_one_image_are_not_enough() -> None:
    src = source([10, 5])
    src.images[10:] = src.images[10]
    with pytest.raises(
        DataError, match="class 'c1' has 1 different image, and 3 are needed to give test, val, train one"
    ):
        split(src)


def test_shuffled_labels_are_a_control() -> None:
    data = open_data("digits")
    control = data.with_shuffled_labels(3)
    for part in ("train", "val"):
        assert not np.array_equal(control.labels(part), data.labels(part))
        assert np.array_equal(np.sort(control.labels(part)), np.sort(data.labels(part)))
    assert np.array_equal(control.labels("test"), data.labels("test"))
    assert np.array_equal(control.labels("train"), data.with_shuffled_labels(3).labels("train"))
    assert control.fingerprint != data.fingerprint
    assert (control.labels("train") == data.labels("train")).mean() < 0.2


def test_parts_have_names() -> None:
    data = open_data("digits")
    assert len(data.positions("all")) == 1797
    with pytest.raises(UsageError, match="split 'dev' is none of train, val, test, all"):
        data.positions("dev")
