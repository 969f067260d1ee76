"""COCO's average precision on cases whose value can be worked out by hand, and against a plain twin."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corinth.errors import UsageError
from corinth.tasks.average_precision import BoxPrecision, average_precision, image_precision, library


def truth(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(-1, 5)


def found(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(-1, 6)


ONE = [0, 10, 10, 30, 30]
HIT = [0, 0.9, 10, 10, 30, 30]


def test_perfect_detections() -> None:
    result = average_precision([truth(ONE, [1, 0, 0, 5, 5])], [found(HIT, [1, 0.4, 0, 0, 5, 5])], 3)
    assert (result.map, result.map50, result.map75, result.mean_recall) == pytest.approx((1, 1, 1, 1))
    assert np.isnan(result.per_class[2]).all()


def test_a_shifted_box_counts_up_to_its_overlap() -> None:
    """20 x 20 pixels, 4 to the side: 16 / 24 of the union overlap, which is enough for 0.50, 0.55, 0.60 and 0.65."""
    result = average_precision([truth(ONE)], [found([0, 0.9, 14, 10, 34, 30])], 1)
    np.testing.assert_allclose(result.per_class[0], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert (result.map, result.map50, result.map75) == pytest.approx((0.4, 1, 0))


def test_a_repeated_detection_is_wrong_the_second_time() -> None:
    """Behind the right one it costs nothing; before the right one of another box it costs half of the precision."""
    two = truth(ONE, [0, 50, 50, 70, 70])
    other = [0, 0.5, 50, 50, 70, 70]
    assert average_precision([two], [found(HIT, other, [0, 0.3, 10, 10, 30, 30])], 1).map == pytest.approx(1)
    # precision 1 up to recall 1/2 (51 of 101 points), then 2 of 3 are right
    result = average_precision([two], [found(HIT, [0, 0.8, 10, 10, 30, 30], other)], 1)
    assert result.map == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_missing_and_wrong() -> None:
    assert average_precision([truth(ONE)], [found()], 1).map == 0
    assert average_precision([truth(ONE)], [found([1, 0.9, 10, 10, 30, 30])], 2).map == 0  # another class
    assert average_precision([truth(ONE), truth()], [found(), found(HIT)], 1).map == 0  # another image
    assert np.isnan(average_precision([truth()], [found(HIT)], 1).map)  # nothing to find


def test_what_lies_in_an_ignored_box_does_not_count() -> None:
    crowd = truth([0, 50, 50, 90, 90])
    inside = [0, 0.95, 60, 60, 70, 70]
    assert average_precision([truth(ONE)], [found(HIT, inside)], 1).map < 1
    assert average_precision([truth(ONE)], [found(HIT, inside)], 1, ignored=[crowd]).map == pytest.approx(1)
    assert average_precision([truth(ONE)], [found(HIT)], 1, ignored=[crowd]).map == pytest.approx(1)


def plain(truths: list[np.ndarray], detections: list[np.ndarray], label: int, overlap: float) -> float:
    """COCO's protocol for one class and overlap, step by step."""
    rows = [(r[1], i, r[2:]) for i, d in enumerate(detections) for r in d if r[0] == label]
    taken: set[tuple[int, int]] = set()
    hits = []
    for _, i, box in sorted(rows, key=lambda row: -row[0]):
        best, which = overlap, None
        for j, t in enumerate(truths[i]):
            if t[0] != label or (i, j) in taken:
                continue
            low, high = np.maximum(box[:2], t[1:3]), np.minimum(box[2:], t[3:5])
            both = np.prod(np.clip(high - low, 0, None))
            union = np.prod(box[2:] - box[:2]) + np.prod(t[3:5] - t[1:3]) - both
            if both / union >= best:
                best, which = both / union, j
        hits.append(which is not None)
        if which is not None:
            taken.add((i, which))
    total = sum((t[:, 0] == label).sum() for t in truths)
    right = np.cumsum(hits)
    precision, recall = right / np.arange(1, len(hits) + 1), right / total
    return float(np.mean([max([0, *precision[recall >= r]]) for r in np.linspace(0, 1, 101)]))


def crowded(seed: int, images: int = 6) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Boxes of two classes, most of them found with some error, some twice, some wrong."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(images):
        low = rng.uniform(0, 80, (4, 2))
        boxes = np.concatenate([low, low + rng.uniform(8, 30, (4, 2))], axis=1)
        labels = rng.integers(0, 2, (4, 1))
        truths.append(np.concatenate([labels, boxes], axis=1))
        again = rng.choice(4, 6)
        moved = boxes[again] + rng.normal(0, 1.5, (6, 4))
        named = np.where(rng.random((6, 1)) < 0.8, labels[again], 1 - labels[again])
        detections.append(np.concatenate([named, rng.random((6, 1)), moved], axis=1))
    return truths, detections


@pytest.mark.parametrize("seed", range(3))
def test_the_library_agrees_with_the_plain_twin(seed: int) -> None:
    truths, detections = crowded(seed)
    result = average_precision(truths, detections, 2)
    expected = [[plain(truths, detections, k, o) for o in np.arange(10) * 0.05 + 0.5] for k in (0, 1)]
    np.testing.assert_allclose(result.per_class, expected, atol=1e-6)
    assert 0.05 < result.map < 0.95


def test_the_score_of_each_image_is_its_own_average_precision() -> None:
    truths, detections = crowded(3)
    scores = image_precision(truths, detections)
    for i, score in enumerate(scores):
        alone = average_precision(truths[i : i + 1], detections[i : i + 1], 2)
        assert score == pytest.approx(alone.map)
    assert image_precision([truth(), truth(), truth(ONE)], [found(), found(HIT), found(HIT)]).tolist() == [1, 0, 1]
    assert image_precision([truth()], [found(HIT)], ignored=[truth([0, 0, 0, 90, 90])]).tolist() == [1]


def test_the_metric_gathers_batches() -> None:
    truths, detections = crowded(4)
    metric = BoxPrecision(2)
    for rows in (slice(0, 4), slice(4, 6)):
        most = max(len(t) for t in truths[rows]) + 1
        padded = torch.full((len(truths[rows]), most, 5), -1.0)
        for target, t in zip(padded, truths[rows]):
            target[: len(t)] = torch.from_numpy(t)
        metric.update([torch.from_numpy(d) for d in detections[rows]], padded, torch.arange(6)[rows])
    values = metric.compute()
    expected = average_precision(truths, detections, 2)
    assert float(values["map"]) == pytest.approx(expected.map, abs=1e-4)
    assert float(values["map50"]) == pytest.approx(expected.map50, abs=1e-4)


WORKER = """
import sys
import torch
from corinth.tasks.average_precision import BoxPrecision
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
metric = BoxPrecision(2)
if rank == 1:  # the other one has no sample
    metric.update([torch.tensor([[0, 0.9, 10, 10, 30, 30]])], torch.tensor([[[0.0, 10, 10, 30, 30]]]), torch.arange(1))
print(float(metric.compute()["map"]))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_without_samples_join_in(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    commands = [[sys.executable, str(script), str(rank), str(tmp_path / "store")] for rank in (0, 1)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    assert [worker.communicate(timeout=120)[0].strip()[:5] for worker in workers] == ["1.0", "1.0"]


def test_without_the_library_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(name: str, *args: Any) -> Any:
        if name == "faster_coco_eval":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UsageError, match=r"faster-coco-eval; install it with: pip install 'corinth\[detection\]'"):
        library()


def test_the_library_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    average_precision([truth(ONE)], [found(HIT)], 1)
    assert capsys.readouterr() == ("", "")
