"""What all texts that are samples have in common, by position."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from corinth.data.source import number_groups


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts, none of them empty; `places` says where each was read, such as "train.tsv, line 3"."""

    texts: tuple[str, ...]
    places: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def sequence(self, i: int) -> str:
        return self.texts[i]

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 (N,), in characters."""
        return np.array([len(text) for text in self.texts], dtype=np.int64)

    def name(self, i: int) -> str:
        return self.places[i]

    def key(self, i: int) -> str:
        return self.texts[i]

    def duplicate_groups(self) -> np.ndarray:
        return number_groups(text.encode() for text in self.texts)

    def content(self) -> Iterable[bytes]:
        for text in self.texts:
            yield text.encode() + b"\0"
