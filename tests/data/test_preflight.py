"""What the preflight finds."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np
from PIL import Image

from corinth.data import Preprocess, open_data
from corinth.data.preflight import Finding, Preflight, Sizes, preflight

Folders = Callable[..., Path]


def texts(report: Preflight, severity: str) -> str:
    return " | ".join(f.text for f in report.findings if f.severity == severity)


def test_a_healthy_set(tmp_path: Path, class_folders: Folders) -> None:
    report = preflight(open_data(class_folders(tmp_path / "pets", cat=40, dog=40)))
    assert report.ok
    assert report.samples == 80
    assert report.parts == {"train": 56, "val": 8, "test": 16}
    assert report.classes["cat"] == {"train": 28, "val": 4, "test": 8}
    assert report.imbalance == 1.0
    assert isinstance(sizes := report.measures, Sizes)
    assert sizes.sizes == {"min": (10, 12), "median": (10, 12), "max": (10, 12)}
    assert sizes.channels == {3: 80}
    assert report.duplicates_within == {"train": 0, "val": 0, "test": 0}
    assert (report.duplicates_across, report.conflicting, sizes.memory) == (0, 0, None)
    assert not texts(report, "warning")
    assert "split here" in texts(report, "note")
    assert report.lines()[0] == "pets: 80 images (56 train, 8 val, 16 test), 2 classes"
    assert json.loads(json.dumps(report.to_dict()))["samples"] == 80


def test_imbalance_and_rare_classes(tmp_path: Path, class_folders: Folders) -> None:
    report = preflight(open_data(class_folders(tmp_path, cat=100, dog=5)))
    assert report.imbalance == 70 / 3
    assert "70 training images of 'cat', 3 of 'dog'" in texts(report, "warning")
    assert "1 class has fewer than 10 training images: 'dog'" in texts(report, "warning")


def test_duplicates_within_and_across_and_in_conflict(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path / "train", cat=12, dog=12)
    class_folders(tmp_path / "test", cat=3, dog=3)
    copy(tmp_path / "train/cat/000.png", tmp_path / "train/cat/again.png")
    copy(tmp_path / "train/cat/001.png", tmp_path / "test/cat/leak.png")
    copy(tmp_path / "train/dog/002.png", tmp_path / "test/cat/wrong.png")
    report = preflight(open_data(tmp_path, val_share=0.0))
    assert report.duplicates_within == {"train": 1, "val": 0, "test": 0}
    assert report.duplicates_across == 2
    assert report.conflicting == 1
    assert "2 images lie in more than one part" in texts(report, "warning")
    assert "1 image appears with different labels" in texts(report, "warning")
    assert {Path(p).name for p in report.examples["conflicting"][0]} == {"002.png", "wrong.png"}
    assert "the val part is empty" in texts(report, "warning")


def test_splits_made_here_have_no_duplicates_across(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=12, dog=12)
    for i in range(12):
        copy(tmp_path / f"cat/{i:03}.png", tmp_path / f"cat/copy{i}.png")
    report = preflight(open_data(tmp_path))
    assert report.duplicates_across == 0
    assert sum(report.duplicates_within.values()) == 12


def test_damage_by_path_and_verification(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, cat=20, dog=20)
    (tmp_path / "cat/zero.png").write_bytes(b"")
    cut = tmp_path / "dog/cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-2000])
    data = open_data(tmp_path, max_corrupt=0.04)
    quick, full = preflight(data), preflight(data, verify=True)
    assert [path for path, _ in quick.corrupt] == [str(tmp_path / "cat/zero.png")]
    assert quick.ok
    assert [path for path, _ in full.corrupt] == [str(tmp_path / "cat/zero.png"), str(cut)]
    assert not full.ok  # 2 of 42 is over the limit
    assert str(tmp_path / "cat/zero.png") in texts(full, "error")
    assert full.to_dict()["corrupt"][0] == {
        "path": str(tmp_path / "cat/zero.png"),
        "reason": "the file is empty (0 bytes)",
    }


def test_sizes_channels_and_the_network(tmp_path: Path, class_folders: Folders) -> None:
    class_folders(tmp_path, channels=1, cat=15)
    class_folders(tmp_path, channels=3, dog=15)
    Image.new("RGB", (100, 50)).save(tmp_path / "dog/large.png")
    prepare = Preprocess(size=(32, 32), channels=1, mean=(0.5,), std=(0.5,))
    report = preflight(open_data(tmp_path), preprocess=prepare)
    assert isinstance(sizes := report.measures, Sizes)
    assert sizes.sizes == {"min": (10, 12), "median": (10, 12), "max": (50, 100)}
    assert sizes.channels == {1: 15, 3: 16}
    assert sizes.memory == 31 * 32 * 32
    assert "15 images are grey, 16 in colour" in texts(report, "note")
    assert "30 of 31 images are smaller than the network's input of 32 x 32" in texts(report, "warning")
    assert "16 colour images are turned grey" in texts(report, "note")
    assert "are held in memory" in texts(report, "note")


def test_the_worst_is_said_first(tmp_path: Path, class_folders: Folders) -> None:
    report = preflight(open_data(class_folders(tmp_path, cat=20, dog=20)))
    assert report.ok
    worse = replace(report, findings=(*report.findings, Finding("error", "no room")))
    assert not worse.ok
    assert worse.lines()[3] == "error: no room"
