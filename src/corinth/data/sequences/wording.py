"""The tokens of texts that a network writes about something else: pictures, classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from corinth.data.sequences.tokenizing import SPECIAL, UNKNOWN, Kind, read_tokenizer, train_tokenizer
from corinth.errors import UsageError

LONGEST_WRITTEN = 256  # tokens, unless a person says otherwise


@dataclass(frozen=True, kw_only=True)
class Wording:
    """Texts to tokens, int64 (T,), of which the first `max_len` - 1 are kept, with the token of the end behind; and
    tokens to texts. There are two tokens more than the tokenizer has: that of the beginning and that of the end."""

    tokenizer: str  # the library's JSON
    max_len: int = LONGEST_WRITTEN
    typical: int = 1  # tokens of the median training text, the end's among them
    longest: int = 1  # of the longest, as far as it is kept

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return read_tokenizer(self.tokenizer)

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size() + 2

    @property
    def begin(self) -> int:
        """The token that a decoder starts with."""
        return self._tokenizer.get_vocab_size()

    @property
    def end(self) -> int:
        """The token behind a text."""
        return self.begin + 1

    @property
    def silent(self) -> tuple[int, ...]:
        """Tokens that are never written, because they stand for no word: padding, the unknown and the beginning."""
        found = (self._tokenizer.token_to_id(name) for name in SPECIAL)
        return (*(token for token in found if token is not None), self.begin)

    @property
    def options(self) -> dict[str, Any]:
        """What a task that writes needs to know."""
        return {"begin": self.begin, "end": self.end, "silent": self.silent, "limit": self.longest}

    def targets(self, texts: Sequence[str]) -> list[Tensor]:
        """A text without a single token is its end alone."""
        found = (encoding.ids[: self.max_len - 1] for encoding in self._tokenizer.encode_batch(list(texts)))
        return [torch.tensor([*ids, self.end], dtype=torch.int64) for ids in found]

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than is kept."""
        return sum(len(encoding.ids) >= self.max_len for encoding in self._tokenizer.encode_batch(list(texts)))

    def count_unknown(self, rows: Sequence[Tensor]) -> int:
        """How many of these tokens stand for words that are not known."""
        unknown = self._tokenizer.token_to_id(UNKNOWN)
        return sum(row.tolist().count(unknown) for row in rows)

    def decoded(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Tokens, without those of beginning and end, to texts, with blanks where the training texts have them."""
        texts = self._tokenizer.decode_batch([[token for token in row if token < self.begin] for row in rows])
        return [text.strip() for text in texts]

    def to_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Wording":
        """The inverse of `to_dict`; an unknown or missing key is a `UsageError`."""
        known = {field.name for field in fields(cls)}
        if wrong := sorted((set(values) - known) | ({"tokenizer"} - set(values))):
            raise UsageError(f"the tokens of texts have {', '.join(sorted(known))}; check {', '.join(wrong)}")
        return cls(**values)

    @classmethod
    def trained(
        cls, texts: Sequence[str], *, tokenizer: Kind, vocab_size: int, lowercase: bool, max_len: int | None
    ) -> "Wording":
        """With a tokenizer of these texts, those of the training part."""
        if max_len is not None and max_len < 2:
            raise UsageError(f"max_len {max_len} leaves no room for a word before the end; it must be at least 2")
        found = train_tokenizer(texts, tokenizer, vocab_size, lowercase=lowercase, marks_apart=True, joined=True)
        made = cls(tokenizer=found.to_str(), max_len=LONGEST_WRITTEN if max_len is None else max_len)
        lengths = np.array([len(row) for row in made.targets(texts)])
        return replace(made, typical=int(np.median(lengths)), longest=int(lengths.max()))
