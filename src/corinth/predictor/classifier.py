"""Image classification for its user: images in, named classes out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from corinth.data import ImageData, Loader, Preprocess, make_store
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor.evaluation import Evaluation, Evaluator
from corinth.predictor.predictor import Picture, Predictor
from corinth.registry import create_model, entry
from corinth.weights import Source, known_checkpoint, load_weights, other_architecture


@dataclass(frozen=True)
class Prediction:
    """What one image was taken for: the likeliest classes, best first; or `error`, why it could not be read."""

    name: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        top = [{"label": label, "probability": p} for label, p in self.top]
        return {"name": self.name, "label": self.label, "probability": self.probability, "top": top}


class Classifier(Predictor):
    task = "image-classification"

    @classmethod
    def from_weights(
        cls,
        arch: str,
        weights: str | Path,
        *,
        preprocess: Preprocess | None = None,
        classes: Sequence[str] | None = None,
        source: Source = "auto",
        device: str | torch.device = "auto",
        **options: Any,
    ) -> Self:
        """From a foreign checkpoint. `preprocess` and `classes` come from the hub whose id it is, or from the table
        of known checkpoints if it is one of them; otherwise they must be given, because no checkpoint file carries
        them. `options` are fields of the architecture's config."""
        found = entry(arch)  # a name that is not known is the first thing to say
        known = known_checkpoint(weights)
        notes: list[str] = []
        if known is not None:
            if known.arch != found.name:
                raise other_architecture(str(weights), known.arch, found.name)
            preprocess = preprocess or known.preprocess
            if not classes and not known.named:
                notes.append(f"{weights} has no class names: they are 0 to {len(known.classes) - 1}")
            classes = classes or known.classes
            options = {**known.options, **options}
        if preprocess is None or classes is None:
            missing = " and ".join(
                word for word, value in (("preprocessing", preprocess), ("class names", classes)) if value is None
            )
            raise UsageError(f"{weights} is no checkpoint that Corinth knows: state its {missing}")
        options.setdefault("num_classes", len(classes))
        if hasattr(found.config, "img_size") and preprocess.size[0] == preprocess.size[1]:
            options.setdefault("img_size", preprocess.size[0])
        model = create_model(arch, **options)
        report = load_weights(model, weights, source=source, arch=arch)
        if report.missing:
            raise WeightsError(
                f"{weights} is no {found.name} of {len(classes)} classes: it has nothing for {_some(report.missing)}"
            )
        return cls(model, preprocess, classes, arch, device=device, notes=(*report.notes, *notes))

    def predict(self, images: Picture | Iterable[Picture], *, batch_size: int = 64, top: int = 5) -> list[Prediction]:
        """The `top` likeliest classes of each image.

        Paths (a folder stands for the images in it), arrays (H, W) or (H, W, 3) uint8, or PIL images. A file that
        cannot be read becomes a Prediction with `error`; the others are not affected.
        """

        def ask(names: Sequence[str], pixels: Sequence[np.ndarray], inputs: Tensor) -> list[Prediction]:
            values, order = (t.tolist() for t in self.probabilities(inputs).topk(min(top, len(self.classes)), dim=1))
            found = []
            for name, row, ranks in zip(names, values, order, strict=True):
                best = tuple((self.classes[rank], p) for rank, p in zip(ranks, row, strict=True))
                found.append(Prediction(name, *best[0], best))
            return found

        return self.answers(images, batch_size, ask, lambda name, reason: Prediction(name, error=reason))

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Preprocessed uint8 images (B, C, H, W) to class probabilities (B, K) on the CPU."""
        return self.model(self.preprocess.normalise(images.to(self.device))).float().softmax(dim=1).cpu()

    def evaluate(
        self, data: ImageData, split: str = "test", *, batch_size: int = 512, keep_probs: bool = True
    ) -> Evaluation:
        """Score one part of `data`, or all of it (`split="all"`), with this network's own preprocessing.

        Classes are matched by name; a label this network never learnt is a `DataError`. `keep_probs=False` keeps no
        probabilities, so memory does not grow with samples x classes.
        """
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        numbers = torch.as_tensor(self._class_numbers(data), device=self.device)
        store = make_store(data, split, self.preprocess)
        loader = Loader(store, batch_size, device=self.device)
        evaluator = Evaluator(self.classes, keep_probs=keep_probs, device=self.device)
        with torch.inference_mode():
            for batch in loader:
                evaluator.update(self.model(batch.inputs), numbers[batch.targets], batch.index)
        return evaluator.result(dropped=store.dropped)

    def _class_numbers(self, data: ImageData) -> list[int]:
        """For each class of `data` its number in this network; a class without images has any."""
        mine = {name: number for number, name in enumerate(self.classes)}
        counts = np.bincount(data.source.labels, minlength=data.num_classes)
        unseen = [name for name, count in zip(data.classes, counts) if count and name not in mine]
        if unseen:
            raise DataError(
                f"{data.name} has labels that this {self.arch} was not trained on: {_some(unseen)}; "
                f"it knows {_some(self.classes)}"
            )
        return [mine.get(name, 0) for name in data.classes]


def _some(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
