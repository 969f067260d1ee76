"""A class for every frame: digits that move and change on a canvas, and gestures of a hand in a stream of points.

    CORINTH_DATA=... python benchmarks/video.py [--only digits ...] [--seeds 2] [--threads 1]

Digits: a handwritten digit (the test file of MNIST, 28 x 28) bounces on a canvas of 40 x 40 pixels and is swapped for
another one at random times. Every frame has noise, half of those with a digit a bar in front of it, and three in ten
frames show noise alone. To be said is, for every frame, which digit is there. No handwriting is in two parts. Networks:
`lrcn` (forwards), `bilrcn`, and the same convolutional network without recurrence.

Gestures (hand_gestures): rows of 42 numbers, the key points of a hand in one frame, by `mlp`; tracks of a finger tip
over 16 frames, by recurrent networks; and streams of several tracks one behind the other, with a class for every step.
The files have no header, and class 0, 1, ... in the first column. Neighbouring rows are alike, as they were recorded
one after the other, so the parts are stretches of each class: its first 70 % for training, then 10 % for validation,
then the test part.

Each row trains by the network's own recipe, changed as the table below says, chooses the checkpoint on the validation
part and scores the test part once for each seed. Results are merged into results/video.json.
"""

import argparse
import csv
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import corinth
from common import machine, real_data, trained
from corinth.data import open_data

RESULTS = Path(__file__).parent / "results" / "video.json"
SIDE, DIGIT = 40, 28
CLIPS = {"train": 1000, "val": 120, "test": 300}
HANDS = {"train": (0, 7000), "val": (7000, 8000), "test": (8000, 10000)}  # handwritings of each part
STREAMS = {"train": 600, "val": 80, "test": 200}
PARTS = {"train": (0.0, 0.7), "val": (0.7, 0.8), "test": (0.8, 1.0)}  # of each class's rows, in their order
TRACK = 16
SMALL_CNN = {"channels": (16, 32, 64, 128)}


@dataclass(frozen=True)
class Row:
    """One data set, one architecture, and what its recipe has different."""

    data: str
    arch: str
    fields: dict[str, Any] = field(default_factory=dict)


DIGITS = {"budget": "16ep", "options": SMALL_CNN}
STREAM = {"budget": "20ep", "batch_size": 32}
ROWS = {
    "digits, lrcn_single_frame": Row("digits", "lrcn_single_frame", DIGITS),
    "digits, lrcn": Row("digits", "lrcn", DIGITS),
    "digits, bilrcn": Row("digits", "bilrcn", DIGITS),
    "key points, mlp": Row("keypoints", "mlp", {"budget": "40ep"}),
    "tracks, lstm": Row("tracks", "lstm", {"budget": "15ep"}),
    "tracks, bilstm": Row("tracks", "bilstm", {"budget": "15ep"}),
    "streams, rnn": Row("streams", "rnn", STREAM),
    "streams, lstm": Row("streams", "lstm", STREAM),
    "streams, bilstm": Row("streams", "bilstm", STREAM),
}


# ---- digits ----


def moving_digits(seed: int = 0) -> dict[str, np.ndarray]:
    """An archive: x_train uint8 (N, T, H, W), y_train (N, T), lengths_train, and so on."""
    folder = real_data("mnist_t10k")
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, DIGIT, DIGIT)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    arrays: dict[str, np.ndarray] = {}
    for part, count in CLIPS.items():
        mine = order[slice(*HANDS[part])]
        clips = [clip(images[mine], labels[mine], rng) for _ in range(count)]
        lengths = np.array([len(y) for _, y in clips])
        x = np.zeros((count, lengths.max(), SIDE, SIDE), dtype=np.uint8)
        y = np.zeros((count, lengths.max()), dtype=np.int64)
        for row, (frames, said) in enumerate(clips):
            x[row, : len(said)], y[row, : len(said)] = frames, said
        arrays |= {f"x_{part}": x, f"y_{part}": y, f"lengths_{part}": lengths}
    return arrays


def clip(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 (T, H, W) and the digit in each."""
    steps, room = int(rng.integers(14, 25)), SIDE - DIGIT
    place, speed = rng.uniform(0, room, 2), rng.uniform(1.0, 3.0, 2) * rng.choice([-1, 1], 2)
    number, frames, said = int(rng.integers(len(images))), [], []
    stays = int(rng.integers(4, 10))
    for _ in range(steps):
        if stays == 0:
            number, stays = int(rng.integers(len(images))), int(rng.integers(4, 10))
        stays -= 1
        frame = np.zeros((SIDE, SIDE))
        if rng.random() >= 0.3:
            top, left = place.round().astype(int)
            frame[top : top + DIGIT, left : left + DIGIT] = images[number]
            if rng.random() < 0.5:
                bar = int(rng.integers(0, SIDE - 12))
                frame[:, bar : bar + 12] = 128
        frames.append(np.clip(frame + rng.normal(0, 50, frame.shape), 0, 255).astype(np.uint8))
        said.append(labels[number])
        place = place + speed
        speed = np.where((place < 0) | (place > room), -speed, speed)
        place = np.clip(place, 0, room)
    return np.stack(frames), np.array(said)


# ---- gestures ----


def gestures(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Numbers (N, F) and classes (N,) of each part of a file, a stretch of each class."""
    with open(real_data("hand_gestures") / f"{name}.csv", newline="") as file:
        rows = np.array([[float(cell) for cell in row] for row in csv.reader(file) if row])
    classes = rows[:, 0].astype(int)
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for part, (first, last) in PARTS.items():
        chosen = [own[int(first * len(own)) : int(last * len(own))] for own in map(np.flatnonzero, _each(classes))]
        mine = np.concatenate(chosen)
        parts[part] = rows[mine, 1:], classes[mine]
    return parts


def _each(classes: np.ndarray) -> Iterator[np.ndarray]:
    yield from (classes == number for number in np.unique(classes))


def streams(seed: int = 0) -> dict[str, np.ndarray]:
    """4 to 8 tracks of one part behind each other: the moves of the finger tip from frame to frame, and the class at
    each of them. Moves, as every track begins at 0, 0, which would give away where one begins."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for part, (rows, classes) in gestures("point_history").items():
        moves = np.diff(rows.reshape(len(rows), TRACK, 2), axis=1)
        most = 8 * (TRACK - 1)
        x, y = np.zeros((STREAMS[part], most, 2)), np.zeros((STREAMS[part], most), dtype=np.int64)
        lengths = np.zeros(STREAMS[part], dtype=np.int64)
        for row in range(STREAMS[part]):
            numbers = np.unique(classes)
            chosen = [rng.choice(np.flatnonzero(classes == c)) for c in rng.choice(numbers, rng.integers(4, 9))]
            lengths[row] = len(chosen) * (TRACK - 1)
            x[row, : lengths[row]] = moves[chosen].reshape(-1, 2)
            y[row, : lengths[row]] = classes[chosen].repeat(TRACK - 1)
        arrays |= {f"x_{part}": x, f"y_{part}": y, f"lengths_{part}": lengths}
    return arrays


def tracks() -> dict[str, np.ndarray]:
    """The file as it is, as series of 16 steps of 2 channels with a class each."""
    arrays: dict[str, np.ndarray] = {}
    for part, (rows, classes) in gestures("point_history").items():
        arrays |= {f"x_{part}": rows.reshape(len(rows), TRACK, 2), f"y_{part}": classes}
    return arrays


def keypoints(folder: Path) -> Path:
    """A table for each part, without a header."""
    for part, (rows, classes) in gestures("keypoint").items():
        with open(folder / f"{part}.csv", "w", newline="") as file:
            csv.writer(file).writerows([int(label), *row] for label, row in zip(classes, rows.tolist()))
    return folder


def opened(name: str, folder: Path) -> Any:
    if name == "keypoints":
        (folder / name).mkdir()
        return open_data(keypoints(folder / name), label_column="1")
    arrays = {"digits": moving_digits, "streams": streams, "tracks": tracks}[name]()
    np.savez(folder / f"{name}.npz", **arrays)
    return open_data(folder / f"{name}.npz")


def measure(row: Row, data: Any, seeds: int) -> dict[str, Any]:
    """Test scores of every seed, and seconds of training."""
    scores, seconds = [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            run = trained(arch=row.arch, data=data, seed=seed, output=f"{folder}/run", **row.fields)
            seconds.append(round(time.process_time() - start, 1))
            scores.append(corinth.load_run(run.path).evaluate(data, "test").score)
    return {"accuracy": scores, "cpu_seconds": seconds, "machine": machine()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(ROWS), help="rows whose names contain one of these")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        known: dict[str, Any] = {}
        for name, row in ROWS.items():
            if not any(word in name for word in args.only):
                continue
            if row.data not in known:
                known[row.data] = opened(row.data, Path(folder))
            rows[name] = measure(row, known[row.data], args.seeds)
            found = rows[name]["accuracy"]
            spread = f"{statistics.mean(found):.4f} ({min(found):.4f} to {max(found):.4f})"
            print(f"{name:28} {spread}, {statistics.mean(rows[name]['cpu_seconds']):.0f} CPU s a run", flush=True)
            RESULTS.write_text(json.dumps({key: rows[key] for key in sorted(rows)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
