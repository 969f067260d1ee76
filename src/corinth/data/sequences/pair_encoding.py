"""Texts to tokens and tokens to translations: the tokenizers of both sides, saved with the weights."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Tokenizer, decoders
from torch import Tensor

from corinth.data.sequences.asked import Asked
from corinth.data.sequences.batch import Sequences
from corinth.data.sequences.pairs import PairSource
from corinth.data.sequences.tokenizing import Kind, read_tokenizer, train_tokenizer
from corinth.errors import DataError

END_NAME = "end"  # of the token behind a sentence, for people
LONGEST_SENTENCE = 256  # tokens, unless a person says otherwise
_CHINESE = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_BLANK_IN_CHINESE = re.compile(rf"(?<=[{_CHINESE}]) +(?=[{_CHINESE}])")


@dataclass(frozen=True, kw_only=True)
class PairEncoding(Asked):
    """Sentences to tokens, int64 (T,), of which the first `max_len` - 1 are kept, with the token of the end behind.

    Each side has two tokens more than its tokenizer: that of the beginning, with which a decoder starts, and that of
    the end.
    """

    tokenizer: str  # of the source, the library's JSON
    target_tokenizer: str  # the same, where the vocabulary is shared
    direction: tuple[str, str]  # what source and target are called, such as ("en", "de")
    max_len: int = LONGEST_SENTENCE
    typical: int = 1  # tokens of the median training source
    longest: int = 1  # of the longest source or target, as far as it is kept
    kind: ClassVar[str] = "pairs"

    @cached_property
    def _source(self) -> Tokenizer:
        return read_tokenizer(self.tokenizer)

    @cached_property
    def _target(self) -> Tokenizer:
        return read_tokenizer(self.target_tokenizer)

    @property
    def source_vocab_size(self) -> int:
        return self._source.get_vocab_size() + 2

    @property
    def target_vocab_size(self) -> int:
        return self._target.get_vocab_size() + 2

    @property
    def begin(self) -> int:
        """The token that a decoder starts with."""
        return self._target.get_vocab_size()

    @property
    def end(self) -> int:
        """The token behind a translation."""
        return self.begin + 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a typical input."""
        return (self.typical,)

    def __call__(self, texts: Sequence[str]) -> list[Tensor]:
        return self._encoded(self._source, texts)

    def targets(self, texts: Sequence[str]) -> list[Tensor]:
        return self._encoded(self._target, texts)

    def _encoded(self, tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tensor]:
        end = tokenizer.get_vocab_size() + 1
        found = (encoding.ids[: self.max_len - 1] for encoding in tokenizer.encode_batch(list(texts)))
        return [torch.tensor([*ids, end], dtype=torch.int64) for ids in found]

    def network_options(self) -> dict[str, int]:
        return {"source_vocab_size": self.source_vocab_size, "target_vocab_size": self.target_vocab_size}

    def check_data(self, data: Any) -> None:
        """Pairs the other way round are a `DataError`; columns that have other names may be of the same languages."""
        ours, theirs = self.direction
        if data.source.direction == (theirs, ours) and not (ours + theirs).isdecimal():
            raise DataError(
                f"{data.name} translates {theirs} to {ours}, and the network {ours} to {theirs}; "
                f"turn it round with source_column {ours}"
            )

    def count_cut(self, data: Any) -> int:
        """How many pairs have a side that is longer than is kept."""
        source = data.source
        counts = [
            [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]
            for tokenizer, texts in ((self._source, source.texts), (self._target, source.translations))
        ]
        return sum(max(pair) >= self.max_len for pair in zip(*counts))

    def decoded(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Tokens of translations, without those of beginning and end, to text."""
        texts = self._target.decode_batch([[token for token in row if token < self.begin] for row in rows])
        return [_BLANK_IN_CHINESE.sub("", text).strip() for text in texts]

    def pieces(self, text: str) -> list[str]:
        """A source as the tokens that the network reads, for people."""
        return [*self._source.encode(text).tokens[: self.max_len - 1], END_NAME]

    def target_pieces(self, tokens: Sequence[int]) -> list[str]:
        """Tokens of a translation, for people."""
        return [END_NAME if token >= self.begin else self._target.id_to_token(token) or "" for token in tokens]

    def random_inputs(self, size: int, steps: int | None = None) -> Sequences:
        """Made-up inputs of so many steps, by default of the longest, to time and to measure a training step with."""
        steps = self.longest if steps is None else steps
        return Sequences.of(torch.randint(self.source_vocab_size, (size, steps)))

    def to_dict(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": self.kind} | values | {"direction": list(self.direction)}

    @classmethod
    def trained(
        cls,
        source: PairSource,
        rows: np.ndarray,
        *,
        tokenizer: Kind,
        vocab_size: int,
        lowercase: bool,
        max_len: int | None,
        share_vocab: bool,
    ) -> "PairEncoding":
        """With tokenizers of the training part, at the positions `rows`: one for both sides where they share it."""
        texts, translations = [source.texts[i] for i in rows], [source.translations[i] for i in rows]

        def train(texts: Sequence[str]) -> str:
            found = train_tokenizer(texts, tokenizer, vocab_size, lowercase=lowercase, marks_apart=True)
            if tokenizer == "word":  # blanks between words, and none before a full stop
                found.decoder = decoders.WordPiece()
            return found.to_str()

        ours = train([*texts, *translations] if share_vocab else texts)
        made = cls(
            tokenizer=ours,
            target_tokenizer=ours if share_vocab else train(translations),
            direction=source.direction,
            max_len=LONGEST_SENTENCE if max_len is None else max_len,
        )
        lengths = np.array([len(row) for row in made(texts)])
        longest = max(int(lengths.max()), *(len(row) for row in made.targets(translations)))
        return replace(made, typical=int(np.median(lengths)), longest=longest)
