"""Texts of a class for their user: a label in, texts of it out; and how well those of the data are foretold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from corinth.data import Loader, SequenceData
from corinth.data.batch import Batch
from corinth.data.seeds import generator
from corinth.data.sequences.label_encoding import LabelEncoding, LabelStore
from corinth.data.sequences.source import TextSource
from corinth.data.sequences.store import collate_targets
from corinth.errors import DataError, UsageError, WeightsError
from corinth.predictor.predictor import Predictor, check_finite
from corinth.predictor.sampling import Sampled, check_sampling, draw, next_probs
from corinth.tasks import TextFromLabel
from corinth.tasks.writing import speaking


@dataclass(frozen=True, kw_only=True)
class LabelText(Sampled):
    """A text that a network wrote of a class, and how."""

    label: str


@dataclass(frozen=True)
class WritingEvaluation:
    """How well a network foretells the texts of a part, told their classes. `nats` is the sum over all `tokens`, the
    end's of each text among them, -ln of the probability that each had; `characters` are those of the texts, `unknown`
    how many of the tokens stand for words that the network does not know. `per_sample` (N,) are nats a token of each
    text."""

    nats: float
    tokens: int
    characters: int
    unknown: int
    per_sample: np.ndarray
    index: np.ndarray
    classes: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def samples(self) -> int:
        return len(self.index)

    @property
    def score(self) -> float:
        """Nats a token."""
        return self.nats / self.tokens

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-sample arrays are left out."""
        return {
            "samples": self.samples,
            "tokens": self.tokens,
            "unknown_tokens": self.unknown,
            "nats_per_token": self.score,
            "perplexity": math.exp(self.score),
            "nats_per_character": self.nats / self.characters,
            "dropped": [],
        }


class LabelWriter(Predictor):
    task = "text-from-label"
    preprocess: Any  # a `LabelEncoding`

    def __init__(self, model: nn.Module, preprocess: Any, classes: Sequence[str], *args: Any, **options: Any) -> None:
        if not isinstance(preprocess, LabelEncoding) or preprocess.num_labels != len(classes):
            raise WeightsError("the network's preparation is not one of texts of its classes; it belongs to another")
        super().__init__(model, preprocess, classes, *args, **options)

    def number(self, label: str) -> int:
        """The class of that name; an unknown one is a `UsageError`."""
        if label not in self.classes:
            raise UsageError(f"the label {label!r} was not seen in training; the run knows {', '.join(self.classes)}")
        return self.classes.index(label)

    def evaluate(self, data: SequenceData, split: str = "test", *, batch_size: int = 512) -> WritingEvaluation:
        """Score one part of `data`, or all of it (`split="all"`); labels are matched by name."""
        if data.task != self.task or not isinstance(data.source, TextSource):
            raise UsageError(f"{data.name} is data for {data.task}; open it with task='{self.task}'")
        if not len(data.positions(split)):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        check_finite(self.model)
        store = LabelStore(data, split, self.preprocess)
        numbers = torch.tensor([self.number(name) for name in data.classes])
        store.labels = numbers[store.labels]
        task = TextFromLabel(self.model, **self.preprocess.words.options)
        nats: list[np.ndarray] = []
        index: list[int] = []
        with torch.inference_mode():
            for batch in Loader(store, batch_size, device=self.device):
                nats += [row.double().cpu().numpy() for row in task.nats(batch)]
                index += batch.index.tolist()
        return WritingEvaluation(
            nats=float(sum(row.sum() for row in nats)),
            tokens=sum(map(len, nats)),
            characters=sum(len(data.source.texts[i]) for i in index),
            unknown=self.preprocess.words.count_unknown(store.targets),
            per_sample=np.array([row.mean() for row in nats]),
            index=np.array(index),
            classes=self.classes,
        )

    @torch.inference_mode()
    def surprise(self, label: str, text: str) -> np.ndarray:
        """Nats of each token of a text of that class, the end's the last, float64 (T,)."""
        inputs = torch.tensor([self.number(label)])
        targets = collate_targets(self.preprocess.words.targets([text]))
        batch = Batch(inputs, targets, torch.arange(1)).to(self.device)
        (nats,) = TextFromLabel(self.model, **self.preprocess.words.options).nats(batch)
        return nats.double().cpu().numpy()

    def generate(
        self,
        label: str,
        *,
        count: int = 1,
        length: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[LabelText]:
        """Texts of a class, drawn token by token up to the end, or to `length` tokens (by default as many as the
        longest training text had); `next_probs` has what `temperature`, `top_k` and `top_p` mean. The same seed gives
        the same texts, the first of them however many are asked for."""
        if count < 1:
            raise UsageError(f"count {count} is not valid; it must be a whole number from 1")
        check_sampling(temperature, top_k, top_p)
        most = self.preprocess.words.longest if length is None else length
        if most < 1:
            raise UsageError(f"length {most} is not valid; it must be a whole number from 1")
        number = self.number(label)
        how: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        rows = [self._drawn(number, most, generator("label", seed, number, i), how) for i in range(count)]
        texts = self.preprocess.words.decoded(rows)
        return [LabelText(label=label, text=text, sample=i, seed=seed, **how) for i, text in enumerate(texts)]

    @torch.inference_mode()
    def _drawn(self, number: int, most: int, chance: torch.Generator, how: dict[str, Any]) -> list[int]:
        model: Any = self.model
        words = self.preprocess.words
        step = speaking(model.decode_step, silent=words.silent, begin=words.begin, end=words.end)
        state, token, tokens = model.encode(torch.tensor([number], device=self.device)), words.begin, []
        while len(tokens) < most and token != words.end:
            logits, state = step(state, torch.tensor([token], device=self.device))
            token = draw(next_probs(logits[0].float().cpu(), **how), chance)
            tokens.append(token)
        return tokens
