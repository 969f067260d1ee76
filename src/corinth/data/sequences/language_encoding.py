"""Running text to tokens and back: what belongs to a language model's weights and is saved with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from corinth.data.sequences.encoding import Tokens, to_dict
from corinth.data.sequences.language import PassageSource
from corinth.data.sequences.source import SequenceData
from corinth.data.sequences.tokenizing import SPECIAL, UNKNOWN, Kind, train_tokenizer
from corinth.errors import UsageError

WINDOW = 128  # tokens, unless a person says otherwise
AT_ONCE = 100_000  # characters that the library turns into tokens together
UNREADABLE = "\N{REPLACEMENT CHARACTER}"  # stands for an unknown token


@dataclass(frozen=True, kw_only=True)
class LanguageEncoding(Tokens):
    """A text to tokens that stand for all of its characters in their order; blanks and line ends are kept.

    `max_len` is how many tokens a training step looks back over.
    """

    unit: Kind = "char"
    lowercase: bool = False
    max_len: int = WINDOW
    kind: ClassVar[str] = "language"

    def __call__(self, texts: Sequence[str]) -> list[Tensor]:
        return [torch.from_numpy(self.tokens(self.prepared(text))[0]) for text in texts]

    def prepared(self, text: str) -> str:
        """A text as the network reads it: capitals made small, where it was trained so."""
        return text.lower() if self.lowercase else text

    def tokens(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of a prepared text and how many characters each stands for, both int64 (N,)."""
        if self.unit == "char":
            return self._characters(text)
        ids: list[int] = []
        widths: list[int] = []
        for encoding in self._tokenizer.encode_batch(list(_chunks(text))):
            ids += encoding.ids
            widths += [end - start for start, end in encoding.offsets]
        return np.array(ids, dtype=np.int64), np.array(widths, dtype=np.int64)

    def _characters(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Each different character is looked up once."""
        codes, places = np.unique(np.frombuffer(text.encode("utf-32-le"), dtype="<u4"), return_inverse=True)
        found = (self._tokenizer.token_to_id(chr(code)) for code in codes.tolist())
        ids = np.array([self.unknown if number is None else number for number in found], dtype=np.int64)
        return ids[places], np.ones(len(places), dtype=np.int64)

    @property
    def unknown(self) -> int:
        return SPECIAL.index(UNKNOWN)

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """The characters that each token stands for; nothing for the padding."""
        names: list[Any] = [self._tokenizer.id_to_token(number) for number in range(self.vocab_size)]
        if self.unit == "wordpiece":
            names = [name.removeprefix("##") if len(name) > len("##") else name for name in names]
        return ("", UNREADABLE, *names[len(SPECIAL) :])

    def decode(self, tokens: Sequence[int]) -> str:
        """The inverse of `tokens`, but for unknown ones."""
        return "".join(self.pieces[token] for token in tokens)

    def check(self, text: str) -> np.ndarray:
        """The tokens of a text; what is not in the vocabulary is a `UsageError` that names it."""
        text = self.prepared(text)
        ids, widths = self.tokens(text)
        ends = widths.cumsum()
        missing = ids == self.unknown
        strange = list(dict.fromkeys(text[end - width : end] for end, width in zip(ends[missing], widths[missing])))
        if strange:
            named = ", ".join(map(repr, strange[:5])) + (", …" if len(strange) > 5 else "")
            raise UsageError(f"the network has never seen {named}; write the text without")
        return ids

    def to_dict(self) -> dict[str, Any]:
        return to_dict(self)

    @classmethod
    def trained(
        cls, data: SequenceData, *, unit: Kind, vocab_size: int, lowercase: bool, max_len: int | None
    ) -> "LanguageEncoding":
        """With a tokenizer of the training part alone."""
        window = WINDOW if max_len is None else max_len
        text = "".join(part_of(data, "train", lowercase=lowercase))
        found = train_tokenizer([text], unit, vocab_size, lowercase=False, running=True)
        return cls(
            tokenizer=found.to_str(), unit=unit, lowercase=lowercase, max_len=window, typical=window, longest=window
        )


def part_of(data: SequenceData, split: str, *, lowercase: bool) -> list[str]:
    """The passages of a part, in their order."""
    assert isinstance(data.source, PassageSource)
    passages = (data.source.passages[i] for i in data.positions(split))
    return [passage.lower() if lowercase else passage for passage in passages]


def _chunks(text: str) -> Iterator[str]:
    """A text in pieces that the library can take together, each up to the end of a line where there is one."""
    start = 0
    while start < len(text):
        end = len(text) if len(text) - start <= AT_ONCE else text.rfind("\n", start, start + AT_ONCE) + 1
        end = end if end > start else start + AT_ONCE
        yield text[start:end]
        start = end
