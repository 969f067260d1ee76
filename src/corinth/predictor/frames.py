"""Frame classification for its user: clips or series in, a class for every frame or step out."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corinth.data import Batch, Loader, SequenceData, Sequences, SequenceStore, SeriesEncoding
from corinth.data.sequences.clip_encoding import ClipEncoding
from corinth.data.sequences.clips import ClipSource
from corinth.data.sequences.encoding import uncut
from corinth.data.sequences.labelled import FRAMES, StepLabels
from corinth.data.sequences.loose import loose_clips, loose_series
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor.evaluation import ClassScore, mean_f1, per_class_scores
from corinth.predictor.predictor import Predictor
from corinth.predictor.sequences import answers, columns_of
from corinth.tasks import FrameClassification


@dataclass(frozen=True)
class FramePrediction:
    """The class of every frame of a clip, or step of a series, and its probability; or `error`, why there are none."""

    name: str
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None

    columns = ("frame", "label", "probability")  # of `rows`, beside the name

    @property
    def summary(self) -> str:
        """What comes for how many frames, such as "still 12, wave 30, still 8"."""
        return ", ".join(f"{label} {len(list(same))}" for label, same in itertools.groupby(self.labels))

    def rows(self) -> list[dict[str, Any]]:
        """A row of a table for each frame, numbered from 1."""
        pairs = enumerate(zip(self.labels, self.probabilities), start=1)
        return [{"name": self.name, "frame": i, "label": label, "probability": round(p, 6)} for i, (label, p) in pairs]

    def to_dict(self) -> dict[str, Any]:
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        return {"name": self.name, "labels": list(self.labels), "probabilities": list(self.probabilities)}


@dataclass(frozen=True)
class FrameEvaluation:
    """The scores of N clips or series. `accuracy` is the share of frames that got the right class, `per_sample` (N,)
    that of each clip, `loss` the mean cross-entropy of a frame in nats; `confusion[i, j]` counts frames of class i that
    were called j."""

    classes: tuple[str, ...]
    samples: int
    frames: int
    accuracy: float
    loss: float
    per_class: tuple[ClassScore, ...]
    confusion: np.ndarray
    per_sample: np.ndarray
    index: np.ndarray
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> float:
        return self.accuracy

    @property
    def macro_f1(self) -> float:
        return mean_f1(self.per_class)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-sample arrays are left out."""
        numbers = ("samples", "frames", "accuracy", "loss", "macro_f1")
        return {name: getattr(self, name) for name in numbers} | {
            "per_class": {score.name: score.to_dict() for score in self.per_class},
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "dropped": [],
        }


class FrameClassifier(Predictor):
    """Every frame gets an answer: `max_len` cuts clips of the training alone."""

    task = FRAMES
    preprocess: SeriesEncoding | ClipEncoding

    @property
    def takes_clips(self) -> bool:
        return isinstance(self.preprocess, ClipEncoding)

    def predict(self, clips: Any | Iterable[Any], *, batch_size: int = 64) -> list[FramePrediction]:
        """The class of every frame. Clips are arrays uint8 (T, H, W) or (T, H, W, C), and paths of folders of frames,
        of folders of such folders, of .npz archives; series are as `SequenceClassifier.predict` takes them. What cannot
        be used becomes a prediction with `error`; the others are not affected.
        """
        if isinstance(clips, str | Path | Tensor | np.ndarray):
            clips = [clips]
        preprocess = self.preprocess
        if isinstance(preprocess, SeriesEncoding):
            loose = loose_series(clips, preprocess.audio_rate, columns_of(self))
        else:
            loose = loose_clips(clips)

        def ask(names: Sequence[str], inputs: Sequences) -> list[FramePrediction]:
            return [self._named(name, probs) for name, probs in zip(names, self.probabilities(inputs), strict=True)]

        def fail(name: str, reason: str) -> FramePrediction:
            return FramePrediction(name, error=reason)

        return answers(loose, uncut(preprocess), batch_size, ask, fail)

    def _named(self, name: str, probs: np.ndarray) -> FramePrediction:
        labels = tuple(self.classes[number] for number in probs.argmax(axis=1))
        return FramePrediction(name, labels, tuple(probs.max(axis=1).tolist()))

    @torch.inference_mode()
    def probabilities(self, inputs: Sequences) -> list[np.ndarray]:
        """Encoded clips to class probabilities, float32 (T, K) of each, without padding."""
        batch = Batch(inputs.to(self.device), torch.empty(0), torch.arange(len(inputs)))
        found = FrameClassification(self.model, self.classes).predict(batch)
        if not found.probs.isfinite().all():
            raise WeightsError("the network's outputs are not finite; its weights are damaged")
        return [row[:length].cpu().numpy() for row, length in zip(found.probs, found.lengths.tolist())]

    def evaluate(self, data: SequenceData, split: str = "test", *, batch_size: int = 512) -> FrameEvaluation:
        """Score one part of `data`, or all of it (`split="all"`); classes are matched by name, and one that this
        network never learnt is a `DataError`."""
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        if data.task != FRAMES:
            raise UsageError(f"{data.name} has no class for every frame or step, which this {self.arch} needs")
        if isinstance(data.source, ClipSource) and not isinstance(self.preprocess, ClipEncoding):
            raise UsageError(f"{data.name} holds clips of frames, and this {self.arch} was trained on numbers")
        self.preprocess.check_data(data)
        assert isinstance(data.source, StepLabels)
        source = data.source.onto(self.classes, data.name)
        confusion = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        index, shares, surprise = [], [], 0.0
        for batch in Loader(SequenceStore(data, split, uncut(self.preprocess)), batch_size):
            for position, probs in zip(batch.index.tolist(), self.probabilities(batch.inputs), strict=True):
                true, said = source.tags[position], probs.argmax(axis=1)
                np.add.at(confusion, (true, said), 1)
                index.append(position)
                shares.append(float((said == true).mean()))
                surprise -= float(np.log(np.maximum(probs[np.arange(len(true)), true], 1e-38)).sum(dtype=np.float64))
        frames = int(confusion.sum())
        return FrameEvaluation(
            classes=self.classes,
            samples=len(index),
            frames=frames,
            accuracy=float(confusion.trace() / frames),
            loss=surprise / frames,
            per_class=per_class_scores(self.classes, confusion),
            confusion=confusion,
            per_sample=np.array(shares),
            index=np.array(index),
        )
