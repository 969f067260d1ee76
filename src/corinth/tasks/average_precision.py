"""COCO's average precision, by the library faster-coco-eval (extra `detection`).

The protocol is COCO's (cocodataset.org/#detection-eval): precision at 101 recalls, the mean over the overlaps 0.50 to
0.95 in steps of 0.05 and over the classes that occur, at most 100 detections a class and image.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from corinth.errors import UsageError

OVERLAPS = np.linspace(0.5, 0.95, 10)
MOST = 100  # detections of a class in one image that count
_TOGETHER = (
    500  # images that are evaluated one by one in one call: its table has 10 x 101 numbers for each class of each
)
_NOTHING = np.empty((0, 5))


@dataclass(frozen=True)
class Precision:
    """Average precisions in [0, 1]; those of a class that has no boxes are nan, and so are means over no class.

    `per_class` is (K, 10), a column for each of `OVERLAPS`; `recall` (K, 10) the share of boxes found at all.
    """

    per_class: np.ndarray
    recall: np.ndarray

    @property
    def map(self) -> float:
        return _mean(self.per_class)

    @property
    def map50(self) -> float:
        return _mean(self.per_class[:, 0])

    @property
    def map75(self) -> float:
        return _mean(self.per_class[:, 5])

    @property
    def mean_recall(self) -> float:
        """COCO's AR with 100 detections an image."""
        return _mean(self.recall)


def library() -> Any:
    """faster-coco-eval; a `UsageError` with the command that installs it where it is absent."""
    try:
        return importlib.import_module("faster_coco_eval")
    except ImportError as error:
        raise UsageError(
            "average precision needs the library faster-coco-eval; install it with: pip install 'corinth[detection]'"
        ) from error


def average_precision(
    truths: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    num_classes: int,
    *,
    ignored: Sequence[np.ndarray] | None = None,
) -> Precision:
    """Of N images: true boxes (n, 5) as label, x1, y1, x2, y2; detections (m, 6) as label, score, x1, y1, x2, y2.

    A detection that lies in an `ignored` box, (n, 5), of its class and fits no true one counts neither for nor
    against, as COCO has it for crowds.
    """
    evaluation = _Evaluation(len(truths), num_classes)
    for i in range(len(truths)):
        evaluation.add(i, truths[i], found[i], ignored[i] if ignored is not None else _NOTHING)
    return evaluation.result()


def image_precision(
    truths: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    *,
    ignored: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """The average precision of every image by itself, (N,): the mean over its classes and the overlaps.

    An image without true boxes has 1 if nothing is detected in it (of classes that it has no ignored boxes of), else
    0. Every image and class is evaluated as a category of its own, many in one call of the library.
    """
    ignored = ignored if ignored is not None else [_NOTHING] * len(truths)
    scores = np.empty(len(truths))
    waiting: list[int] = []
    for i, rows in enumerate(truths):
        if len(rows):
            waiting.append(i)
        else:
            scores[i] = float(np.isin(found[i][:, 0], ignored[i][:, 0]).all())
    for start in range(0, len(waiting), _TOGETHER):
        images = waiting[start : start + _TOGETHER]
        numbers: dict[tuple[int, int], int] = {}  # (image, class) -> category
        for i in images:
            for label in np.unique(truths[i][:, 0]).astype(int):
                numbers[i, label] = len(numbers)
        evaluation = _Evaluation(1, len(numbers))
        for i in images:
            evaluation.add(0, *(_renumbered(rows[i], i, numbers) for rows in (truths, found, ignored)))
        means = evaluation.result().per_class.mean(axis=1)
        for i in images:
            scores[i] = np.mean([means[number] for (image, _), number in numbers.items() if image == i])
    return scores


class BoxPrecision(Metric):
    """mAP over the samples of all processes; gives `map`, `map50`, `map75`. A class without boxes does not count.

    States are flat, as torchmetrics joins an empty one of a process without samples to them.
    """

    full_state_update = False
    truth: list[Tensor]
    found: list[Tensor]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        library()  # its absence is said before anything is computed
        self.num_classes = num_classes
        self.add_state("truth", [], dist_reduce_fx="cat")
        self.add_state("found", [], dist_reduce_fx="cat")

    def update(self, found: Sequence[Tensor], truth: Tensor, index: Tensor) -> None:
        """Detections (n, 6) of each sample, boxes (B, M, 5) filled up with label -1, the samples' positions (B,)."""
        for rows, boxes, position in zip(found, truth, index.tolist(), strict=True):
            boxes = boxes[boxes[:, 0] >= 0]
            self.truth.append(F.pad(boxes.float(), (1, 0), value=position).flatten())
            self.found.append(F.pad(rows.float(), (1, 0), value=position).flatten())

    def compute(self) -> dict[str, Tensor]:
        truth, found = (_joined(rows, columns) for rows, columns in ((self.truth, 6), (self.found, 7)))
        images = np.unique(np.concatenate([truth[:, 0], found[:, 0]]))
        result = average_precision(_by_image(truth, images), _by_image(found, images), self.num_classes)
        values = {"map": result.map, "map50": result.map50, "map75": result.map75}
        return {name: torch.tensor(0.0 if np.isnan(value) else value) for name, value in values.items()}


class _Evaluation:
    """The library's tables for some images, and its call."""

    def __init__(self, images: int, categories: int) -> None:
        self.images, self.categories = images, categories
        self.truth: list[dict[str, Any]] = []
        self.found: list[dict[str, Any]] = []

    def add(self, image: int, truth: np.ndarray, found: np.ndarray, ignored: np.ndarray) -> None:
        for rows, crowd in ((truth, 0), (ignored, 1)):
            for label, *box in rows.tolist():
                self.truth.append(_entry(len(self.truth) + 1, image, label, box) | {"iscrowd": crowd})
        for label, score, *box in found.tolist():
            self.found.append(_entry(len(self.found) + 1, image, label, box) | {"iscrowd": 0, "score": score})

    def result(self) -> Precision:
        coco = library()
        images = [{"id": i} for i in range(self.images)]
        categories = [{"id": label, "name": str(label)} for label in range(self.categories)]
        tables = []
        for rows in (self.truth, self.found):
            table = coco.COCO()
            table.dataset = {"images": images, "categories": categories, "annotations": rows}
            table.createIndex()
            tables.append(table)
        evaluation = coco.COCOeval_faster(*tables, iouType="bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MOST]
        evaluation.evaluate()
        evaluation.accumulate()
        precision = evaluation.eval["precision"][:, :, :, 0, 0]  # (overlaps, recalls, classes), -1 where none
        recall = evaluation.eval["recall"][:, :, 0, 0]
        return Precision(*(np.where(x < 0, np.nan, x).T for x in (precision.mean(axis=1), recall)))


def _entry(identity: int, image: int, label: float, box: list[float]) -> dict[str, Any]:
    """An annotation; identities start at 1, as 0 stands for no match in COCO's code."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    place = {"id": identity, "image_id": image, "category_id": int(label)}
    return place | {"bbox": [x1, y1, width, height], "area": width * height}


def _renumbered(rows: np.ndarray, image: int, numbers: dict[tuple[int, int], int]) -> np.ndarray:
    """Rows of classes that have a number, with it in place of the label."""
    labels = np.array([numbers.get((image, int(label)), -1) for label in rows[:, 0]], dtype=float)
    return np.concatenate([labels[:, None], rows[:, 1:]], axis=1)[labels >= 0]


def _joined(rows: list[Tensor] | Tensor, columns: int) -> np.ndarray:
    """The rows of flat states: of one process a list of them; of several, torchmetrics has joined them."""
    if isinstance(rows, list):
        rows = torch.cat(rows) if rows else torch.empty(0)
    return rows.cpu().numpy().reshape(-1, columns)


def _by_image(rows: np.ndarray, images: np.ndarray) -> list[np.ndarray]:
    """Rows whose first column is their image, for each of `images` (sorted) without that column, in their order."""
    rows = rows[rows[:, 0].argsort(kind="stable")]
    return np.split(rows[:, 1:], np.searchsorted(rows[:, 0], images[1:]))


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")
