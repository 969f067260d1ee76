"""Scores of texts that a network wrote, translations or captions, beside those that people did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from corinth.tasks.bleu import bleu_tokenizer, in_columns

BEAM = 5
AT_ONCE = 1024  # beams that are extended together, at most: each has a row of logits over the whole vocabulary
_LONG = ("texts", "per_sample", "index", "classes", "dropped")


@dataclass(frozen=True, kw_only=True)
class TextScores:
    """The scores of N texts, found with a beam of `beam`.

    `bleu` is that of the corpus (Papineni et al. 2002), `chrf` too (Popovic 2015), both as shares of 1, by sacrebleu,
    whose signatures say how. `per_sample` (N,) are chrF of each text. `loss` is the mean cross-entropy of the
    references' tokens in nats, and `accuracy` the share of them that were the likeliest, given those before.
    """

    samples: int
    bleu: float
    chrf: float
    loss: float
    accuracy: float
    beam: int
    signature: str
    chrf_signature: str
    texts: tuple[str, ...]
    per_sample: np.ndarray
    index: np.ndarray
    classes: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> float:
        """BLEU."""
        return self.bleu

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; texts and per-sample arrays are left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _LONG}
        return values | {"dropped": [{"name": name, "reason": reason} for name, reason in self.dropped]}

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        references: Sequence[Sequence[str]],
        everything: Sequence[str],
        measured: Mapping[str, Any],
        *,
        lowercase: bool = False,
        **own: Any,
    ) -> Self:
        """Of N texts and one or several references of each; `everything` is what decides how words are told apart,
        `measured` has the `loss` and the `accuracy` of tokens, and `own` the other fields."""
        from sacrebleu.metrics import BLEU, CHRF  # takes a while, and few tasks need it

        bleu, chrf = BLEU(tokenize=bleu_tokenizer(everything), lowercase=lowercase), CHRF(lowercase=lowercase)
        columns = in_columns(references)
        return cls(
            samples=len(texts),
            bleu=bleu.corpus_score(texts, columns).score / 100,
            chrf=chrf.corpus_score(texts, columns).score / 100,
            loss=float(measured["loss"]),
            accuracy=float(measured["accuracy"]),
            signature=str(bleu.get_signature()),
            chrf_signature=str(chrf.get_signature()),
            texts=tuple(texts),
            per_sample=np.array([chrf.sentence_score(a, list(b)).score / 100 for a, b in zip(texts, references)]),
            **own,
        )
