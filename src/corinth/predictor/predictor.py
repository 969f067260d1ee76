"""Preparation, network and class names as one object, built from a run folder: what is common to all tasks."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from corinth.data import ImageData, Preprocess
from corinth.data.decode import read_image, to_array
from corinth.data.folders import image_files
from corinth.errors import DataError, UsageError, WeightsError
from corinth.inspect.devices import choose_device
from corinth.predictor.drawing import save
from corinth.weights import load_model, read_config

Picture = str | Path | np.ndarray | Image.Image
A = TypeVar("A", bound="Answer")


PREDICTORS = {  # task -> module and class, imported on first use
    "image-classification": ("classifier", "Classifier"),
    "semantic-segmentation": ("segmentation", "Segmenter"),
    "object-detection": ("detection", "Detector"),
    "tabular-classification": ("rows", "RowClassifier"),
    "tabular-regression": ("rows", "RowRegressor"),
    "sequence-classification": ("sequences", "SequenceClassifier"),
    "sequence-regression": ("regression", "SequenceRegressor"),
    "frame-classification": ("frames", "FrameClassifier"),
    "sequence-tagging": ("tagging", "Tagger"),
    "captioning": ("captioning", "Captioner"),
    "text-from-label": ("writing", "LabelWriter"),
    "transcription": ("transcription", "Transcriber"),
    "translation": ("translation", "Translator"),
    "language-modeling": ("language", "LanguageModel"),
    "forecasting": ("forecasting", "Forecaster"),
}


class Scores(Protocol):
    """What every evaluation has: a score of its task's kind, and one for each sample, in the order of `index`."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def samples(self) -> int: ...
    @property
    def index(self) -> np.ndarray: ...  # int64 (N,), positions in the data
    @property
    def dropped(self) -> tuple[tuple[str, str], ...]: ...  # damaged samples, (name, reason)
    @property
    def score(self) -> float: ...
    @property
    def per_sample(self) -> np.ndarray: ...  # (N,)
    def to_dict(self) -> dict[str, Any]: ...


class Answer(Protocol):
    """What every prediction has; `error` says why a sample could not be read."""

    @property
    def name(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    def to_dict(self) -> dict[str, Any]: ...


class DenseAnswer(Answer, Protocol):
    """A prediction of masks or boxes."""

    @property
    def columns(self) -> tuple[str, ...]: ...  # of `rows`, beside the name
    @property
    def summary(self) -> str: ...  # a few words
    def rows(self) -> list[dict[str, Any]]: ...  # as lines of a table


class Predictor(ABC):
    """A network in evaluation mode with the preparation and the class names that belong to its weights."""

    task: ClassVar[str]
    preprocess: Any  # a `Preparation`, of the kind that the task needs

    def __init__(
        self,
        model: nn.Module,
        preprocess: Any,
        classes: Sequence[str],
        arch: str,
        *,
        device: str | torch.device = "auto",
        data: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self.preprocess = preprocess
        self.classes = tuple(classes)
        self.arch = arch
        self.data = data  # what it was trained on: name, fingerprint, how it was split; None if unknown
        self.notes = tuple(notes)  # what to know about the weights

    @classmethod
    def from_run(cls, path: str | Path, *, device: str | torch.device = "auto") -> Self:
        """From a run folder, or its model.safetensors."""
        model, config = load_model(path)
        if config.task != cls.task:
            raise UsageError(f"{path} does {config.task}, not {cls.task}")
        return cls(model, config.preprocess, config.classes, config.arch, device=device, data=config.extra.get("data"))

    @abstractmethod
    def evaluate(self, data: Any, split: str = "test", *, batch_size: int = 512) -> Scores:
        """Score one part of `data`, or all of it (`split="all"`), with this network's own preparation."""


class ImagePredictor(Predictor):
    """One that answers for images."""

    preprocess: Preprocess

    def __init__(self, model: nn.Module, preprocess: Preprocess, *args: Any, **options: Any) -> None:
        super().__init__(model, preprocess, *args, **options)
        if self.device.type == "cuda" or preprocess.channels > 1:
            self.model = self.model.to(memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]

    @abstractmethod
    def predict(self, images: Picture | Iterable[Picture], *, batch_size: int = 64) -> Sequence[Answer]:
        """What the network says of paths (a folder stands for the images in it), arrays (H, W) or (H, W, 3) uint8, or
        PIL images. A file that cannot be read becomes an answer with `error`; the others are not affected."""

    def answers(
        self,
        images: Picture | Iterable[Picture],
        batch_size: int,
        ask: Callable[[Sequence[str], Sequence[np.ndarray], Tensor], Sequence[A]],
        fail: Callable[[str, str], A],
    ) -> list[A]:
        """One answer for each of the images, in order.

        `ask(names, pixels, inputs)` answers for a batch: uint8 images (h, w) or (h, w, 3) as they are, and as the
        network takes them, (B, C, H, W). `fail(name, reason)` answers for an image that cannot be read.
        """
        check_sizes(batch_size=batch_size)
        found: list[A | None] = []
        waiting: list[tuple[int, str, np.ndarray, Tensor]] = []

        def flush() -> None:
            if waiting:
                places, names, pixels, inputs = zip(*waiting, strict=True)
                for place, answer in zip(places, ask(names, pixels, torch.stack(inputs)), strict=True):
                    found[place] = answer
                waiting.clear()

        for name, image in listed(images):
            try:
                pixels = read_image(image) if isinstance(image, Path) else image
                pixels = to_array(pixels) if isinstance(pixels, Image.Image) else pixels
                waiting.append((len(found), name, pixels, self.preprocess(pixels)))
                found.append(None)
            except DataError as error:
                found.append(fail(name, str(error)))
            if len(waiting) == batch_size:
                flush()
        flush()
        return [answer for answer in found if answer is not None]


class DensePredictor(ImagePredictor):
    """One that answers for places in an image, in the image's own pixels, and can draw what it says.

    `at_once` is how many input pixels go through the network together at most: its maps are as large as the images,
    or nearly, so memory must not grow with the batch that is asked for. Smaller parts change no result.
    """

    at_once: ClassVar[int]

    def held(self, batch_size: int) -> int:
        """`batch_size`, or as many images as may go through the network together; what is below 1 stays."""
        height, width = self.preprocess.size
        return min(batch_size, max(1, self.at_once // (height * width)))

    @abstractmethod
    def predict(self, images: Picture | Iterable[Picture], *, batch_size: int = 64) -> Sequence[DenseAnswer]: ...

    @abstractmethod
    def truth(self, data: ImageData, position: int) -> DenseAnswer:
        """What the data say of an image, as a prediction."""

    @abstractmethod
    def draw(self, pixels: np.ndarray, answer: Any) -> Image.Image:
        """A prediction (or the truth) on its image, uint8 (h, w) or (h, w, 3)."""

    def pictures(self, path: Path) -> list[Path]:
        """What `write` makes: the drawing `path` first."""
        return [path]

    def write(self, pixels: np.ndarray, answer: Any, path: Path) -> None:
        """Save the drawing as `path`, a .png."""
        save(self.draw(pixels, answer), path)


def load_run(path: str | Path, *, device: str | torch.device = "auto") -> Predictor:
    """The trained network of a run folder, ready to predict and to be evaluated; its class depends on the task."""
    task = read_config(path).task
    if task not in PREDICTORS:
        raise UsageError(f"{path} does {task}; this version of Corinth knows {', '.join(PREDICTORS)}")
    return predictor_of(task).from_run(path, device=device)


def check_sizes(**sizes: int) -> None:
    """A size, such as `batch_size` or `beam`, that is not at least 1 is a `UsageError`."""
    for name, value in sizes.items():
        if value < 1:
            raise UsageError(f"{name} {value} is not at least 1")


def check_finite(model: nn.Module) -> None:
    """Weights that are not finite are a `WeightsError`."""
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise WeightsError("the network's weights are not finite; they are damaged")


def predictor_of(task: str) -> type[Predictor]:
    module, name = PREDICTORS[task]
    return getattr(importlib.import_module(f"corinth.predictor.{module}"), name)


def listed(images: Picture | Iterable[Picture]) -> Iterator[tuple[str, Path | np.ndarray | Image.Image]]:
    """Name and image of each; folders opened, paths as Path."""
    if isinstance(images, (str, Path, np.ndarray, Image.Image)):
        images = [images]
    for number, image in enumerate(images):
        if not isinstance(image, (str, Path)):
            yield f"image {number}", image
            continue
        path = Path(image)
        if path.is_dir():
            inside = sorted(image_files(path))
            if not inside:
                raise DataError(f"{path} is a folder without images")
            yield from ((name, Path(name)) for name in inside)
        else:
            yield str(path), path
