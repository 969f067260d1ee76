"""Captioning for its user: pictures in, captions out, scored as captions are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corinth.data import ImageData, Loader
from corinth.data.caption_encoding import CaptionEncoding, CaptionStore
from corinth.data.captions import CaptionSource
from corinth.errors import DataError, UsageError, WeightsError
from corinth.layers.search import ALPHA, beam_search, length_penalty
from corinth.predictor.evaluation import alone
from corinth.predictor.predictor import ImagePredictor, Picture, check_finite, check_sizes
from corinth.predictor.written import AT_ONCE, BEAM, TextScores
from corinth.tasks import Captioning
from corinth.tasks.writing import speaking


@dataclass(frozen=True)
class CaptionPrediction:
    """A picture's caption, with the log-probability of all its tokens, that of its end among them; or `error`, why
    there is none. Neither unknown words nor nothing is ever written: probabilities are among captions of known words.
    """

    name: str
    caption: str = ""
    log_probability: float = 0.0
    error: str | None = None
    tokens: tuple[int, ...] = ()

    columns = ("caption", "log_probability")  # of `rows`, beside the name

    @property
    def summary(self) -> str:
        return self.caption

    def rows(self) -> list[dict[str, Any]]:
        """One row of a table."""
        return [{"name": self.name, "caption": self.caption, "log_probability": f"{self.log_probability:.4f}"}]

    def to_dict(self) -> dict[str, Any]:
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        return {"name": self.name, "caption": self.caption, "log_probability": self.log_probability}


@dataclass(frozen=True, kw_only=True)
class CaptionEvaluation(TextScores):
    """Of the captions of N pictures, against all captions that the data have of each; capitals do not count. `exact` is
    the share of pictures whose caption is one of theirs."""

    exact: float

    @property
    def score(self) -> float:
        """chrF, as BLEU is nothing before four words in a row are right."""
        return self.chrf


class Captioner(ImagePredictor):
    task = "captioning"
    preprocess: Any  # a `CaptionEncoding`

    def __init__(self, model: torch.nn.Module, preprocess: Any, *args: Any, **options: Any) -> None:
        if not isinstance(preprocess, CaptionEncoding):
            raise WeightsError("the network's preparation is not one of pictures with captions; it belongs to another")
        super().__init__(model, preprocess, *args, **options)

    def predict(
        self, images: Picture | Iterable[Picture], *, batch_size: int = 64, beam: int = BEAM
    ) -> list[CaptionPrediction]:
        """A caption of each picture: paths (a folder stands for the images in it), arrays or PIL images. A file that
        cannot be read becomes a prediction with `error`. `beam` 1 is greedy search."""
        check_sizes(beam=beam)

        def ask(names: Sequence[str], _: Sequence[np.ndarray], inputs: Tensor) -> list[CaptionPrediction]:
            tokens, scores = self.search(self.preprocess.normalise(inputs.to(self.device)), beam)
            texts = self.preprocess.words.decoded(tokens)
            return [
                CaptionPrediction(name, text, score, tokens=tuple(row))
                for name, text, score, row in zip(names, texts, scores, tokens, strict=True)
            ]

        return self.answers(images, batch_size, ask, lambda name, reason: CaptionPrediction(name, error=reason))

    @torch.inference_mode()
    def search(self, inputs: Tensor, beam: int) -> tuple[list[list[int]], list[float]]:
        """The tokens of a caption of each picture (B, C, H, W), and their log-probability."""
        model, words = self.model, self.preprocess.words
        step: Any = model.decode_step
        encode: Any = model.encode
        tokens: list[list[int]] = []
        scores: list[float] = []
        for part in inputs.tensor_split(max(1, min(len(inputs), -(-len(inputs) * beam // AT_ONCE)))):
            limits = torch.full((len(part),), words.longest, device=self.device)
            ends = {"begin": words.begin, "end": words.end}
            writes = speaking(step, silent=words.silent, **ends)
            found, values = beam_search(writes, encode(part), limits, beam, **ends)
            tokens += found
            scores += [value * length_penalty(len(row), ALPHA) for row, value in zip(found, values, strict=True)]
        return tokens, scores

    def evaluate(
        self, data: ImageData, split: str = "test", *, batch_size: int = 512, beam: int = BEAM
    ) -> CaptionEvaluation:
        """Write captions for one part of `data`, or all of it (`split="all"`), and compare with those of the data."""
        check_sizes(beam=beam)
        source: Any = data.source
        if not isinstance(source, CaptionSource):
            raise UsageError(f"{data.name} holds no pictures with captions, which this {self.arch} needs")
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        check_finite(self.model)
        words = self.preprocess.words
        task = Captioning(self.model, decode=words.decoded, references=source.captions, **words.options)
        metrics = alone(task.metrics(validated=0)).to(self.device)
        store = CaptionStore.made(data, split, self.preprocess, together=True)
        index: list[int] = []
        texts: list[str] = []
        with torch.inference_mode():
            for batch in Loader(store, batch_size, device=self.device):
                task.measure(metrics, batch)
                texts += words.decoded(self.search(batch.inputs, beam)[0])
                index += batch.index.tolist()
        references = [source.captions[i] for i in index]
        same = [plain(a) in {plain(b) for b in some} for a, some in zip(texts, references)]
        return CaptionEvaluation.of(
            texts,
            references,
            source.captions_at(data.positions("all")),
            metrics.compute(),
            lowercase=True,
            beam=beam,
            exact=float(np.mean(same)),
            index=np.array(index),
            dropped=tuple(store.dropped),
        )


def plain(text: str) -> str:
    """What counts where captions are said to be the same: its letters and digits, capitals made small."""
    return "".join(filter(str.isalnum, text.lower()))
