"""Sentences with a tag for each word: CoNLL's columns and Universal Dependencies' CoNLL-U."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from corinth.data.collect import Collected, check_names
from corinth.data.sequences.files import declared_parts, files_of_parts, read_text
from corinth.data.sequences.labelled import StepLabels
from corinth.data.source import number_groups
from corinth.errors import DataError, UsageError

TAGGING = "sequence-tagging"
CONLL_SUFFIXES = (".conll", ".conllu", ".iob", ".bio", ".annotated")
CONLLU_COLUMNS = {"upos": 3, "xpos": 4, "deprel": 7}
_COMMENT = re.compile(r"# ?\w+ *=")


@dataclass(frozen=True)
class TaggedSource(StepLabels):
    """Sentences as their words, each word with a tag."""

    sentences: tuple[tuple[str, ...], ...]
    places: tuple[str, ...]
    unit: ClassVar[str] = "sentence"
    label_word: ClassVar[str] = "tag"

    def __len__(self) -> int:
        return len(self.sentences)

    def sequence(self, i: int) -> tuple[str, ...]:
        return self.sentences[i]

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 (N,), in words."""
        return np.array([len(words) for words in self.sentences], dtype=np.int64)

    def name(self, i: int) -> str:
        return self.places[i]

    def key(self, i: int) -> str:
        return " ".join(self.sentences[i])

    def duplicate_groups(self) -> np.ndarray:
        return number_groups("\0".join(words).encode() for words in self.sentences)

    def content(self) -> Iterable[bytes]:
        for words in self.sentences:
            yield "\0".join(words).encode() + b"\n"


def tagged_files(path: Path) -> list[tuple[Path, str | None]]:
    """The files of one data set and the part that the name of each says, such as `en-ud-train.conllu`."""
    if path.is_file():
        return [(path, None)] if path.suffix.lower() in CONLL_SUFFIXES else []
    if not path.is_dir():
        return []
    return files_of_parts(path, CONLL_SUFFIXES)


def open_tagged(files: Sequence[tuple[Path, str | None]], *, label_column: str | None) -> Collected:
    """All sentences of some files as one data set."""
    sentences: list[tuple[tuple[str, ...], list[str], str, str | None]] = []
    notes = []
    for path, part in files:
        found, column = _read(path, label_column)
        sentences += [(words, tags, place, part) for words, tags, place in found]
        notes.append(f"tags are read from {column} of {path.name}")
    where = str(files[0][0].parent if len(files) > 1 else files[0][0])
    if not sentences:
        raise DataError(f"{where}: there are no sentences")
    names = sorted({tag for _, tags, _, _ in sentences for tag in tags})
    check_names(names, where)
    number = {name: i for i, name in enumerate(names)}
    source = TaggedSource(
        sentences=tuple(words for words, _, _, _ in sentences),
        tags=tuple(np.array([number[tag] for tag in tags], dtype=np.int64) for _, tags, _, _ in sentences),
        places=tuple(place for _, _, place, _ in sentences),
        classes=tuple(names),
    )
    return Collected(source, declared_parts([part for _, _, _, part in sentences]), [], notes, TAGGING)


def read_words(path: Path) -> list[tuple[tuple[str, ...], str]]:
    """The sentences of a file without their tags, and their places."""
    return [(words, place) for words, _, place in _read(path, None)[0]]


def _read(path: Path, label_column: str | None) -> tuple[list[tuple[tuple[str, ...], list[str], str]], str]:
    """Sentences with their tags and places, and the column that the tags are from."""
    universal = path.suffix.lower() == ".conllu"
    if not universal and label_column is not None:
        raise UsageError(f"{path}: label_column is for CoNLL-U; of other columns the last has the tags")
    asked = label_column or "upos"
    if universal and asked not in CONLLU_COLUMNS:
        raise UsageError(f"{path}: label_column {asked!r} is none of {', '.join(CONLLU_COLUMNS)}")
    found: list[tuple[tuple[str, ...], list[str], str]] = []
    words: list[str] = []
    tags: list[str] = []
    began, columns = 1, 10 if universal else 0
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        if not line.strip():
            if words:
                found.append((tuple(words), tags, f"{path.name}, line {began}"))
            words, tags = [], []
            continue
        if _is_comment(line, universal, begins=not words):
            continue
        cells = line.rstrip("\r").split("\t") if "\t" in line else line.split()
        if cells[0] == "-DOCSTART-" or (universal and not cells[0].isdigit()):
            continue  # the mark of a document; a contraction such as 3-4, or an empty node
        columns = columns or len(cells)
        if len(cells) != columns or columns < 2:
            wanted = f"{columns} columns, as the first" if len(cells) > 1 else "a word and its tag"
            raise DataError(f"{path.name}, line {number}: has {len(cells)} columns; a line needs {wanted}")
        at, first = (CONLLU_COLUMNS[asked], 1) if universal else (-1, 0)
        word, tag = cells[first].strip(), cells[at].strip()
        if not word or not tag or (universal and tag == "_"):
            missing = "word" if not word else "tag"
            raise DataError(f"{path.name}, line {number}: has no {missing}; every word needs a tag")
        began = began if words else number
        words.append(word)
        tags.append(tag)
    return found, f"column {asked}" if universal else "the last column"


def _is_comment(line: str, universal: bool, *, begins: bool) -> bool:
    """In CoNLL-U all that begins with #; elsewhere that may be a word, so only `# key = value` before a sentence."""
    if universal:
        return line.startswith("#")
    return begins and "\t" not in line and _COMMENT.match(line) is not None
