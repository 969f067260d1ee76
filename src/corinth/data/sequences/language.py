"""Running text, from which a network learns what comes next: one file, or several that are the parts, in passages.

A sample is a passage: nothing is shuffled, a part is a run of passages one behind the other, and a network reads it
from its first character to its last. Passages are what scores are given for, so that networks can be compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from corinth.data.collect import Collected
from corinth.data.sequences.files import declared_parts, files_of_parts, read_text
from corinth.data.source import number_groups
from corinth.errors import DataError, UsageError

LANGUAGE = "language-modeling"
RUNNING_SUFFIXES = (".txt",)
PASSAGE = 256  # characters
PARTS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class PassageSource:
    """Texts cut into passages of `PASSAGE` characters; one at the end of a file may be up to half longer or shorter."""

    passages: tuple[str, ...]
    places: tuple[str, ...]
    unit: ClassVar[str] = "passage"
    classes: ClassVar[tuple[str, ...]] = ()

    def __len__(self) -> int:
        return len(self.passages)

    @property
    def labels(self) -> np.ndarray:
        return np.zeros(len(self), dtype=np.int64)

    def sequence(self, i: int) -> str:
        return self.passages[i]

    def target(self, i: int) -> np.ndarray:
        """What is to be predicted: the passage's characters themselves."""
        return np.array(list(map(ord, self.passages[i])), dtype=np.int64)

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 (N,), in characters."""
        return np.array([len(passage) for passage in self.passages], dtype=np.int64)

    def name(self, i: int) -> str:
        return self.places[i]

    def key(self, i: int) -> str:
        return self.places[i]

    def duplicate_groups(self) -> np.ndarray:
        return number_groups(passage.encode() for passage in self.passages)

    def content(self) -> Iterable[bytes]:
        for passage in self.passages:
            yield passage.encode() + b"\0"

    def fingerprint_bytes(self) -> Iterable[bytes]:
        return ()  # they are the content

    def amounts(self) -> np.ndarray:
        return np.zeros((len(self), 0), dtype=np.int64)

    def onto(self, classes: Sequence[str], where: str) -> "PassageSource":
        return self


def language_files(path: Path) -> list[tuple[Path, str | None]]:
    """A text file, or those of a folder, with the part that the name of each says; empty where there is none."""
    if path.is_file():
        return [(path, None)] if path.suffix.lower() in RUNNING_SUFFIXES else []
    return files_of_parts(path, RUNNING_SUFFIXES) if path.is_dir() else []


def open_language(files: Sequence[tuple[Path, str | None]]) -> Collected:
    """The files one behind the other, in the order of their names."""
    passages: list[str] = []
    places: list[str] = []
    parts: list[str | None] = []
    said = []
    for path, part in files:
        text = read_text(path)
        if not text:
            raise DataError(f"{path} is empty; a language model needs text to learn from, or take the file away")
        starts = _starts(len(text))
        passages += [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)])]
        places += [f"{path.name}, character {start + 1:,}" for start in starts]
        parts += [part] * len(starts)
        said.append(f"{path.name} ({len(text):,} characters)")
    notes = [f"running text, to learn what comes next, is read from {', '.join(said)}"]
    declared = declared_parts(parts)
    if declared and "train" not in declared:
        stands_in = "val" if "val" in declared else "test"
        declared["train"] = declared.pop(stands_in)
        notes.append(f"there is no training part: what is called {PARTS[stands_in]} part is trained on in its place")
    return Collected(PassageSource(tuple(passages), tuple(places)), declared, [], notes, LANGUAGE)


def _starts(length: int) -> list[int]:
    """Where the passages of a text begin; a rest of less than half a passage belongs to the one before it."""
    starts = list(range(0, length, PASSAGE))
    return starts[:-1] if len(starts) > 1 and length - starts[-1] < PASSAGE / 2 else starts


def in_order(
    source: PassageSource, declared: Mapping[str, np.ndarray], *, val_share: float, test_share: float, where: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The parts, and a note of how they were made: those that are declared, the others from the end of what may be
    trained on, first validation and then test. What a network is tested on lies behind all that it has seen."""
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if not 0 <= share < 1:
            raise UsageError(f"{name} {share} is not in [0, 1)")
    if val_share + test_share >= 1:
        raise UsageError(f"val_share {val_share} and test_share {test_share} leave nothing to train on")
    pool = declared["train"] if declared else np.arange(len(source))
    wanted = {name: share for name, share in (("val", val_share), ("test", test_share)) if name not in declared}
    counts = {name: max(1, round(share * len(pool))) if share else 0 for name, share in wanted.items()}
    if sum(counts.values()) >= len(pool):
        raise DataError(
            f"{where}: has {source.lengths[pool].sum():,} characters, too few to be split into training, validation "
            f"and test; {PASSAGE * (1 + sum(count > 0 for count in counts.values())):,} are the least"
        )
    splits = dict(declared)
    for name in reversed(counts):  # test is the end of the text
        rest = len(pool) - counts[name]
        splits[name], pool = pool[rest:], pool[:rest]
    splits["train"] = pool
    notes = []
    if any(counts.values()):
        shares = ", ".join(f"{share:.0%} {name}" for name, share in reversed(wanted.items()) if share)
        of = "the training text" if declared else "the text"
        notes.append(f"split here, in order and nothing shuffled: from the end of {of} {shares}")
    return {name: splits[name] for name in ("train", "val", "test")}, notes
