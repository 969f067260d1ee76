"""A language model for its user: how likely a text is, character by character, and texts that it writes itself."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corinth.data import SequenceData
from corinth.data.seeds import generator
from corinth.data.sequences.language import PassageSource
from corinth.data.sequences.language_encoding import LanguageEncoding, part_of
from corinth.data.sequences.tokenizing import SPECIAL
from corinth.errors import DataError, UsageError
from corinth.predictor.predictor import Predictor, check_finite
from corinth.predictor.sampling import Sampled, check_sampling, draw, next_probs

AT_ONCE = 2**22  # probabilities that are held together: a text is read in pieces


@dataclass(frozen=True, kw_only=True)
class Generation(Sampled):
    """A text that a network wrote behind `prompt`, and how."""

    prompt: str


@dataclass(frozen=True)
class LanguageEvaluation:
    """How well a network foretells a text that it reads from the first character to the last. `nats` is the sum over
    all `tokens` but the first, -ln of the probability that each had, and `characters` what they stand for; `per_sample`
    (N,) is nats a character of each passage, where a token's nats are spread evenly over its characters."""

    nats: float
    tokens: int
    characters: int
    unknown: int  # tokens of the text that the network does not know
    per_sample: np.ndarray
    index: np.ndarray
    dropped: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        return len(self.index)

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / self.tokens

    @property
    def score(self) -> float:
        """Nats a character."""
        return self.nats / self.characters

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the per-sample arrays are left out."""
        return {
            "samples": self.samples,
            "characters": self.characters,
            "tokens": self.tokens,
            "unknown_tokens": self.unknown,
            "nats_per_character": self.score,
            "bits_per_character": self.score / math.log(2),
            "nats_per_token": self.loss,
            "perplexity": math.exp(self.loss),
            "dropped": [],
        }


@dataclass(frozen=True)
class Foretold:
    """One token of a text: its characters, the probability that it had, and the `likeliest` ones at its place; of the
    first token of all `probability` is none and `likeliest` empty."""

    piece: str
    probability: float | None
    likeliest: tuple[tuple[str, float], ...] = ()


class LanguageModel(Predictor):
    task = "language-modeling"
    preprocess: LanguageEncoding

    def evaluate(self, data: SequenceData, split: str = "test", *, batch_size: int = 512) -> LanguageEvaluation:
        """Read one part of `data`, or all of it (`split="all"`), in one go, its state carried from the first character
        to the last; so `batch_size` changes nothing."""
        rows = data.positions(split)
        if not len(rows):
            raise DataError(f"the {split} part of {data.name} is empty; choose another, or all")
        if not isinstance(data.source, PassageSource):
            raise UsageError(f"{data.name} holds no running text, which this {self.arch} needs")
        check_finite(self.model)
        passages = part_of(data, split, lowercase=self.preprocess.lowercase)
        ids, widths = self.preprocess.tokens("".join(passages))
        if len(ids) < 2:
            raise DataError(f"the {split} part of {data.name} has one token; to predict one takes another before it")
        nats = self._nats(ids)
        by_character = _spread(nats, widths)
        pieces = np.split(by_character, np.cumsum([len(passage) for passage in passages])[:-1])
        return LanguageEvaluation(
            nats=float(nats.sum()),
            tokens=len(nats),
            characters=int(widths[1:].sum()),
            unknown=int((ids == self.preprocess.unknown).sum()),
            per_sample=np.array([_mean(piece) for piece in pieces]),
            index=np.array(rows),
        )

    def surprise(self, text: str) -> np.ndarray:
        """Nats of each character of a text, float64 (N,), nan for those of the first token, which nothing foretells."""
        ids, widths = self.preprocess.tokens(self.preprocess.prepared(text))
        return _spread(self._nats(ids), widths)

    @torch.inference_mode()
    def foretell(self, text: str, *, before: str = "", top: int = 3) -> list[Foretold]:
        """What the network expected at each place of a short text, after it has read `before`."""
        encoding = self.preprocess
        earlier, (ids, widths) = encoding.tokens(encoding.prepared(before))[0], encoding.tokens(encoding.prepared(text))
        tokens = torch.from_numpy(np.concatenate([earlier, ids]))
        ends = widths.cumsum()
        pieces = [text[end - width : end] for end, width in zip(ends.tolist(), widths.tolist())]
        if len(tokens) < 2:
            return [Foretold(piece, None) for piece in pieces]
        probs = self._read(tokens[:-1], None)[0].float().softmax(1).cpu()
        had = probs.gather(1, tokens[1:, None])[:, 0].tolist()
        best, places = probs.topk(min(top, probs.shape[1]), dim=1)
        expected = [
            tuple((encoding.pieces[place], p) for place, p in zip(*row)) for row in zip(places.tolist(), best.tolist())
        ]
        found = [(None, ()), *zip(had, expected)][-len(ids) :] if len(ids) else []
        return [Foretold(piece, p, likeliest) for piece, (p, likeliest) in zip(pieces, found, strict=True)]

    @torch.inference_mode()
    def _nats(self, ids: np.ndarray) -> np.ndarray:
        """-ln of the probability of every token but the first, float64 (N - 1,)."""
        tokens = torch.from_numpy(ids)
        inputs, targets = tokens[:-1], tokens[1:]
        found: list[Tensor] = []
        state: Any = None
        piece = max(1, AT_ONCE // self.preprocess.vocab_size)
        for some, true in zip(inputs.split(piece), targets.split(piece)):
            logits, state = self._read(some, state)
            log_probs = logits.float().log_softmax(1).cpu()
            found.append(-log_probs.gather(1, true[:, None])[:, 0])
        return torch.cat(found).double().numpy() if found else np.zeros(0)

    def _read(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Tokens (T,) to the logits (T, V) of those that come next, and the state behind."""
        logits, state = self.model(tokens[None].to(self.device), state=state, with_state=True)
        return logits[0], state

    def generate(
        self,
        prompt: str = "",
        *,
        length: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        samples: int = 1,
    ) -> list[Generation]:
        """Texts of `length` tokens behind the prompt (characters, where a token is one); `next_probs` has what
        `temperature`, `top_k` and `top_p` mean. The same seed gives the same texts, the first of them however many
        are asked for."""
        if samples < 1:
            raise UsageError(f"samples {samples} is not valid; it must be a whole number from 1")
        how: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        texts = ("".join(self.stream(prompt, length=length, seed=seed, sample=i, **how)) for i in range(samples))
        return [Generation(prompt=prompt, text=text, sample=i, seed=seed, **how) for i, text in enumerate(texts)]

    def stream(
        self,
        prompt: str = "",
        *,
        length: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        sample: int = 0,
    ) -> Iterator[str]:
        """One text of `generate`, token by token as it is made. Mistakes are said at once, before the first."""
        check_sampling(temperature, top_k, top_p)
        if length < 0:
            raise UsageError(f"length {length} is not valid; it must be a whole number from 0")
        tokens = torch.from_numpy(self.preprocess.check(prompt)) if prompt else torch.tensor([self._beginning])
        chance = generator("generate", seed, sample)
        return self._stream(tokens, length, chance, {"temperature": temperature, "top_k": top_k, "top_p": top_p})

    def _stream(self, tokens: Tensor, length: int, chance: torch.Generator, how: dict[str, Any]) -> Iterator[str]:
        """Each token is read once: the state holds all that came before it."""
        state: Any = None
        for _ in range(length):
            with torch.inference_mode():
                logits, state = self._read(tokens, state)
                last = logits[-1].float().cpu()
                last[: len(SPECIAL)] = -math.inf  # padding, and what stands for no character
                token = draw(next_probs(last, **how), chance)
            yield self.preprocess.pieces[token]
            tokens = torch.tensor([token])

    @property
    def _beginning(self) -> int:
        """What a text without a prompt is begun behind: the end of a line, or the first token where there is none."""
        return self.preprocess.pieces.index("\n") if "\n" in self.preprocess.pieces else len(SPECIAL)


def _spread(nats: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Nats of all tokens but the first, over the characters that each stands for."""
    each = np.concatenate([[np.nan], nats])[: len(widths)] / np.maximum(widths, 1)
    return np.repeat(each, widths)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
