"""Object detection for its user: images in, named boxes out, in the images' own pixels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from corinth.data import ImageData, Loader, make_store
from corinth.data.boxes import BoxSource
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import draw_boxes
from corinth.predictor.predictor import DensePredictor, Picture
from corinth.tasks.average_precision import average_precision, image_precision, library
from corinth.tasks.detection import Decoding, decode

SHOWN = 0.3  # score from which a detection is worth showing; average precision wants the weaker ones too


@dataclass(frozen=True)
class Box:
    """An object in an image: its class, its score in [0, 1] (None: it is the truth), and x1, y1, x2, y2 in pixels.

    Coordinates are continuous, from the image's upper left corner: x2 - x1 is the width.
    """

    label: str
    score: float | None
    corners: tuple[float, float, float, float]

    def to_dict(self) -> dict[str, Any]:
        score = {} if self.score is None else {"score": self.score}
        return {"label": self.label, **score, **dict(zip(("x1", "y1", "x2", "y2"), self.corners, strict=True))}


@dataclass(frozen=True)
class BoxPrediction:
    """What was found in one image, best first; or `error`, why it could not be read."""

    name: str
    boxes: tuple[Box, ...] = ()
    error: str | None = None

    columns = ("label", "score", "x1", "y1", "x2", "y2")  # of `rows`, beside the name

    @property
    def summary(self) -> str:
        """Such as "2 cat, 1 dog"."""
        counts = Counter(box.label for box in self.boxes)
        return ", ".join(f"{count} {label}" for label, count in counts.most_common()) or "nothing"

    def rows(self) -> list[dict[str, Any]]:
        """A row of a table for each box."""
        return [{"name": self.name, **box.to_dict()} for box in self.boxes]

    def to_dict(self) -> dict[str, Any]:
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        return {"name": self.name, "boxes": [box.to_dict() for box in self.boxes]}


@dataclass(frozen=True)
class ClassPrecision:
    """One class: average precision over overlaps 0.50 to 0.95, at 0.50, the share of its boxes that was found (mean
    over the overlaps), and how many boxes it has. A class without boxes has None."""

    name: str
    ap: float | None
    ap50: float | None
    recall: float | None
    support: int


@dataclass(frozen=True)
class DetectionEvaluation:
    """COCO's scores of N images, shares in [0, 1], in the images' own pixels.

    `map` is the mean average precision over overlaps 0.50 to 0.95 and classes, `map50` and `map75` those at one
    overlap, `recall` COCO's average recall with 100 detections an image and class. `per_sample` (N,) is the average
    precision of each image by itself (1 or 0 where there is no box, and nothing or something was found). `dropped`
    lists images that turned out damaged and were not scored, as (name, reason). `index` (N,) has the images'
    positions in the data, in order of evaluation.
    """

    classes: tuple[str, ...]
    samples: int
    boxes: int
    map: float
    map50: float
    map75: float
    recall: float
    per_class: tuple[ClassPrecision, ...]
    per_sample: np.ndarray
    index: np.ndarray
    dropped: tuple[tuple[str, str], ...] = ()

    score_name = "mAP"
    per_sample_name = "AP per image"

    @property
    def score(self) -> float:
        """mAP over overlaps 0.50 to 0.95."""
        return self.map

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-sample arrays are left out."""
        return {
            "samples": self.samples,
            "boxes": self.boxes,
            "map": self.map,
            "map50": self.map50,
            "map75": self.map75,
            "recall": self.recall,
            "per_class": {
                s.name: {"ap": s.ap, "ap50": s.ap50, "recall": s.recall, "support": s.support} for s in self.per_class
            },
            "classes": list(self.classes),
            "dropped": [{"name": name, "reason": reason} for name, reason in self.dropped],
        }


class Detector(DensePredictor):
    task = "object-detection"
    at_once = 2**24

    def predict(
        self, images: Picture | Iterable[Picture], *, batch_size: int = 16, min_score: float = SHOWN
    ) -> list[BoxPrediction]:
        """The objects in each image whose score is at least `min_score`.

        Paths (a folder stands for the images in it), arrays (h, w) or (h, w, 3) uint8, or PIL images. A file that
        cannot be read becomes a BoxPrediction with `error`; the others are not affected.
        """
        if not 0 <= min_score <= 1:
            raise UsageError(f"min_score {min_score} is not in [0, 1]")

        def ask(names: Sequence[str], pixels: Sequence[np.ndarray], inputs: Tensor) -> list[BoxPrediction]:
            found = self.detect(inputs, [(image.shape[0], image.shape[1]) for image in pixels])
            return [
                BoxPrediction(name, tuple(self._box(row) for row in rows.tolist() if row[1] >= min_score))
                for name, rows in zip(names, found, strict=True)
            ]

        return self.answers(images, self.held(batch_size), ask, lambda name, reason: BoxPrediction(name, error=reason))

    @torch.inference_mode()
    def detect(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Preprocessed uint8 images (B, C, H, W), which were (h, w) pixels each, to detections in those, on the CPU.

        float32 (n, 6) each: label, score, x1, y1, x2, y2, best score first.
        """
        return self._detect(self.preprocess.normalise(images.to(self.device)), sizes)

    def evaluate(self, data: ImageData, split: str = "test", *, batch_size: int = 16) -> DetectionEvaluation:
        """Score one part of `data`, or all of it (`split="all"`), with this network's own preprocessing.

        Classes are matched by name; boxes of a class this network never learnt are a `DataError`.
        """
        library()
        source = data.source
        if not isinstance(source, BoxSource):
            raise UsageError(f"{data.name} is data for {data.task}, and this {self.arch} finds boxes")
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        truth = source.onto(self.classes, data.name)
        store = make_store(data, split, self.preprocess)
        found: list[np.ndarray] = []
        index: list[int] = []
        with torch.inference_mode():
            for batch in Loader(store, self.held(batch_size), device=self.device):
                positions = batch.index.tolist()
                sizes = [truth.headers[position].size for position in positions]
                found += [rows.double().numpy() for rows in self._detect(batch.inputs, sizes)]
                index += positions
        boxes, ignored = [truth.boxes[i] for i in index], [truth.ignored[i] for i in index]
        if not any(len(rows) for rows in boxes):
            raise DataError(f"there is not one box in the {split} part of {data.name}, so nothing can be scored")
        precision = average_precision(boxes, found, len(self.classes), ignored=ignored)
        support = np.bincount(np.concatenate(boxes)[:, 0].astype(np.int64), minlength=len(self.classes))
        return DetectionEvaluation(
            classes=self.classes,
            samples=len(index),
            boxes=int(support.sum()),
            map=precision.map,
            map50=precision.map50,
            map75=precision.map75,
            recall=precision.mean_recall,
            per_class=tuple(
                ClassPrecision(name, float(ap.mean()), float(ap[0]), float(recall.mean()), int(count))
                if count
                else ClassPrecision(name, None, None, None, 0)
                for name, ap, recall, count in zip(
                    self.classes, precision.per_class, precision.recall, support, strict=True
                )
            ),
            per_sample=image_precision(boxes, found, ignored=ignored),
            index=np.array(index, dtype=np.int64),
            dropped=tuple(store.dropped),
        )

    def truth(self, data: ImageData, position: int) -> BoxPrediction:
        """The boxes of an image as the data have them."""
        source = data.source
        if not isinstance(source, BoxSource):
            raise UsageError(f"{data.name} is data for {data.task} and has no boxes")
        rows = source.target(position).tolist()
        return BoxPrediction(
            source.name(position),
            tuple(Box(source.classes[int(label)], None, (x1, y1, x2, y2)) for label, x1, y1, x2, y2 in rows),
        )

    def draw(self, pixels: np.ndarray, answer: BoxPrediction) -> Image.Image:
        """The boxes on their image, uint8 (h, w) or (h, w, 3)."""
        names = [*self.classes, *dict.fromkeys(box.label for box in answer.boxes if box.label not in self.classes)]
        return draw_boxes.draw(pixels, answer.boxes, names)

    def _detect(self, inputs: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        output = self.model(inputs)
        if not all(bool(level.isfinite().all()) for level in (*output.logits, *output.distances)):
            raise WeightsError("the network's outputs are not finite; its weights are damaged")
        found = []
        for rows, size in zip(decode(output, inputs.shape[-2:], Decoding()), sizes, strict=True):
            rows = self.preprocess.boxes_back(rows, size)
            found.append(rows[(rows[:, 4] > rows[:, 2]) & (rows[:, 5] > rows[:, 3])].cpu())  # not in the padding
        return found

    def _box(self, row: list[float]) -> Box:
        label, score, x1, y1, x2, y2 = row
        return Box(self.classes[int(label)], score, (x1, y1, x2, y2))
