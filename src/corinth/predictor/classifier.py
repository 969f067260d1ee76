"""Image classification for its user: images in, named classes out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from corinth.data import ImageData, Preprocess, make_store
from corinth.errors import UsageError, WeightsError
from corinth.predictor.classes import Prediction, ranked, score, some
from corinth.predictor.evaluation import Evaluation
from corinth.predictor.predictor import ImagePredictor, Picture
from corinth.registry import create_model, entry
from corinth.weights import Source, known_checkpoint, load_weights, other_architecture


class Classifier(ImagePredictor):
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
                f"{weights} is no {found.name} of {len(classes)} classes: it has nothing for {some(report.missing)}"
            )
        return cls(model, preprocess, classes, arch, device=device, notes=(*report.notes, *notes))

    def predict(self, images: Picture | Iterable[Picture], *, batch_size: int = 64, top: int = 5) -> list[Prediction]:
        """The `top` likeliest classes of each image.

        Paths (a folder stands for the images in it), arrays (H, W) or (H, W, 3) uint8, or PIL images. A file that
        cannot be read becomes a Prediction with `error`; the others are not affected.
        """

        def ask(names: Sequence[str], pixels: Sequence[np.ndarray], inputs: Tensor) -> list[Prediction]:
            return ranked(names, self.probabilities(inputs), self.classes, top)

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
        return score(
            data,
            split,
            lambda: make_store(data, split, self.preprocess),
            self.model,
            arch=self.arch,
            classes=self.classes,
            batch_size=batch_size,
            keep_probs=keep_probs,
            device=self.device,
        )
