"""Semantic segmentation for its user: images in, masks out, in the images' own pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from corinth.data import ImageData, Loader, make_store
from corinth.data.decode import UnreadableImage
from corinth.data.masks import MaskSource
from corinth.data.preprocess import IGNORED
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor import draw_masks
from corinth.predictor.predictor import DensePredictor, Picture
from corinth.tasks.segmentation import confusion, overlaps

HELD = 2**26  # scores that a pass may hold at once


@dataclass(frozen=True)
class MaskPrediction:
    """The class of every pixel of one image, `mask` uint8 (h, w); or `error`, why it could not be read."""

    name: str
    classes: tuple[str, ...] = ()
    mask: np.ndarray | None = None
    error: str | None = None

    columns = ("label", "share")  # of `rows`, beside the name

    @property
    def shares(self) -> dict[str, float]:
        """Class -> its share of the pixels that have one, the largest first; classes that do not occur are left out."""
        if self.mask is None:
            return {}
        counts = np.bincount(self.mask.ravel(), minlength=256)[: len(self.classes)]
        order = np.argsort(-counts, kind="stable")
        return {self.classes[i]: float(counts[i] / counts.sum()) for i in order.tolist() if counts[i]}

    @property
    def summary(self) -> str:
        """Such as "road 41 %, sky 30 %, car 29 %"."""
        return ", ".join(f"{name} {share:.0%}".replace("%", " %") for name, share in self.shares.items()) or "nothing"

    def rows(self) -> list[dict[str, Any]]:
        """A row of a table for each class that occurs."""
        return [{"name": self.name, "label": name, "share": round(share, 6)} for name, share in self.shares.items()]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the mask is left out."""
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        size = None if self.mask is None else list(self.mask.shape)
        return {"name": self.name, "size": size, "shares": self.shares}


@dataclass(frozen=True)
class ClassOverlap:
    """One class: intersection over union, Dice, and how many pixels it has; None where it occurs nowhere."""

    name: str
    iou: float | None
    dice: float | None
    pixels: int


@dataclass(frozen=True)
class SegmentationEvaluation:
    """The scores of N images in K classes, shares in [0, 1], over the images' own pixels; those of 255 do not count.

    `miou` is the mean intersection over union and `dice` the mean Dice coefficient, over the classes that occur in the
    masks or the answers; all images' pixels are counted together. `confusion[i, j]` counts pixels of class i that were
    called j. `per_sample` (N,) is the mean Dice of each image by itself, over the classes that occur in its mask or
    its answer. `dropped` lists images that were not scored, as (name, reason). `index` (N,) has the images' positions
    in the data, in order of evaluation.
    """

    classes: tuple[str, ...]
    samples: int
    miou: float
    dice: float
    pixel_accuracy: float
    per_class: tuple[ClassOverlap, ...]
    confusion: np.ndarray
    per_sample: np.ndarray
    index: np.ndarray
    dropped: tuple[tuple[str, str], ...] = ()

    score_name = "mIoU"
    per_sample_name = "Dice per image"

    @property
    def score(self) -> float:
        """Mean IoU."""
        return self.miou

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-sample arrays are left out."""
        return {
            "samples": self.samples,
            "miou": self.miou,
            "dice": self.dice,
            "pixel_accuracy": self.pixel_accuracy,
            "per_class": {s.name: {"iou": s.iou, "dice": s.dice, "pixels": s.pixels} for s in self.per_class},
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "dropped": [{"name": name, "reason": reason} for name, reason in self.dropped],
        }


class Segmenter(DensePredictor):
    task = "semantic-segmentation"
    at_once = 2**21  # 8 images of 512 x 512 pixels, of which each takes half a gigabyte in the paper's U-Net

    def predict(self, images: Picture | Iterable[Picture], *, batch_size: int = 16) -> list[MaskPrediction]:
        """The class of every pixel of each image.

        Paths (a folder stands for the images in it), arrays (h, w) or (h, w, 3) uint8, or PIL images. A file that
        cannot be read becomes a MaskPrediction with `error`; the others are not affected.
        """

        def ask(names: Sequence[str], pixels: Sequence[np.ndarray], inputs: Tensor) -> list[MaskPrediction]:
            masks = self.masks(inputs, [(image.shape[0], image.shape[1]) for image in pixels])
            return [MaskPrediction(name, self.classes, mask) for name, mask in zip(names, masks, strict=True)]

        return self.answers(images, self.held(batch_size), ask, lambda name, reason: MaskPrediction(name, error=reason))

    @torch.inference_mode()
    def masks(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """Preprocessed uint8 images (B, C, H, W), which were (h, w) pixels each, to class ids of these, uint8."""
        logits = self.model(self.preprocess.normalise(images.to(self.device)))
        return [self.preprocess.mask_back(scores, size).cpu().numpy() for scores, size in zip(logits, sizes)]

    def evaluate(self, data: ImageData, split: str = "test", *, batch_size: int = 16) -> SegmentationEvaluation:
        """Score one part of `data`, or all of it (`split="all"`), in the images' own pixels.

        Classes are matched by name; one with pixels that this network never learnt is a `DataError`.
        """
        source = self._source(data)
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        store = make_store(data, split, self.preprocess)
        dropped = []
        counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.int64)
        index: list[int] = []
        per_sample: list[float] = []
        with torch.inference_mode():
            for batch in Loader(store, self.held(batch_size), device=self.device):
                logits = self.model(batch.inputs)
                if not logits.isfinite().all():
                    raise WeightsError("the network's outputs are not finite; its weights are damaged")
                for scores, position in zip(logits, batch.index.tolist()):
                    try:
                        truth = torch.from_numpy(source.target(position))
                    except UnreadableImage as error:
                        dropped.append((source.name(position), str(error)))
                        continue
                    called = self.preprocess.mask_back(scores, (truth.shape[0], truth.shape[1])).cpu()
                    if not (truth != IGNORED).any():
                        dropped.append((source.name(position), "its mask has no pixel with a class"))
                        continue
                    own = confusion(called, torch.where(called == IGNORED, IGNORED, truth), len(self.classes))
                    counts += own
                    index.append(position)
                    per_sample.append(overlaps(own)[1].nanmean().item())
        if not index:
            raise DataError(f"there is nothing to evaluate: the {split} part of {data.name} has no mask with a class")
        return _evaluation(self.classes, counts, index, per_sample, (*store.dropped, *dropped))

    def truth(self, data: ImageData, position: int) -> MaskPrediction:
        source = self._source(data)
        return MaskPrediction(source.name(position), self.classes, source.target(position))

    def draw(self, pixels: np.ndarray, answer: MaskPrediction) -> Image.Image:
        """The mask on its image, with the names of the classes."""
        assert answer.mask is not None
        return draw_masks.draw(pixels, answer.mask, self.classes)

    def pictures(self, path: Path) -> list[Path]:
        """The drawing as `path`, and the mask itself beside it, with `_mask` behind the name."""
        return [path, path.with_name(f"{path.stem}_mask.png")]

    def write(self, pixels: np.ndarray, answer: MaskPrediction, path: Path) -> None:
        """Save the drawing, and the mask as palette PNG."""
        assert answer.mask is not None
        super().write(pixels, answer, path)
        draw_masks.write_mask(self.pictures(path)[1], answer.mask, len(self.classes))

    def _source(self, data: ImageData) -> MaskSource:
        if not isinstance(data.source, MaskSource):
            raise UsageError(f"{data.name} has no masks: it is data for {data.task}, and this {self.arch} segments")
        return data.source.onto(self.classes, data.name)

    def held(self, batch_size: int) -> int:
        height, width = self.preprocess.size
        return min(super().held(batch_size), max(1, HELD // (len(self.classes) * height * width)))


def _evaluation(
    classes: tuple[str, ...],
    counts: Tensor,
    index: Sequence[int],
    per_sample: Sequence[float],
    dropped: tuple[tuple[str, str], ...],
) -> SegmentationEvaluation:
    iou, dice = overlaps(counts)
    per_class = tuple(
        ClassOverlap(name, None if a != a else a, None if b != b else b, pixels)  # NaN is no number
        for name, a, b, pixels in zip(classes, iou.tolist(), dice.tolist(), counts.sum(1).tolist(), strict=True)
    )
    return SegmentationEvaluation(
        classes=classes,
        samples=len(index),
        miou=iou.nanmean().item(),
        dice=dice.nanmean().item(),
        pixel_accuracy=(counts.trace() / counts.sum()).item(),
        per_class=per_class,
        confusion=counts.numpy(),
        per_sample=np.array(per_sample),
        index=np.array(index, dtype=np.int64),
        dropped=dropped,
    )
