"""What the readers of sequences share: a file's text, folders that are classes, the parts that samples are in."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from corinth.data.collect import SPLIT_WORDS
from corinth.errors import DataError, UsageError

_PART = re.compile(rf"(?<![a-z])({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})(?![a-z])")


def read_text(path: Path) -> str:
    """A UTF-8 file; bytes that are none are a `DataError` that says which."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    return decoded(content, path)


def decoded(content: bytes, path: Path) -> str:
    """The text of a file's bytes, which are UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start} ({error.object[error.start]:#04x}) is not UTF-8; save the file as UTF-8"
        ) from error


def declared_parts(splits: Sequence[str | None]) -> dict[str, np.ndarray]:
    """Positions of each part that some sample says it is in."""
    named = np.array([split or "" for split in splits], dtype=object)
    return {part: np.flatnonzero(named == part) for part in ("train", "val", "test") if (named == part).any()}


def class_files(folder: Path, suffixes: Sequence[str]) -> Iterator[tuple[Path, str, str | None]]:
    """Files of some kinds in `folder/<class>/`, or with the parts outside, `folder/train/<class>/`: each with its class
    and its part."""
    named = [(child, SPLIT_WORDS.get(child.name.lower())) for child in _folders(folder)]
    for root, part in [(child, part) for child, part in named if part is not None] or [(folder, None)]:
        for child in _folders(root):
            for file in sorted(child.iterdir()):
                if file.suffix.lower() in suffixes and file.is_file() and not file.name.startswith("."):
                    yield file, child.name, part


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def files_of_parts(folder: Path, suffixes: Sequence[str]) -> list[tuple[Path, str | None]]:
    """The files of some kinds in a folder and the part that the name of each says, such as `en-ud-train.conllu`."""
    files = sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in suffixes and file.is_file() and not file.name.startswith(".")
    )
    named = [(file, SPLIT_WORDS[found[1]]) for file in files if (found := _PART.search(file.name.lower())) is not None]
    if named and (other := [file.name for file in files if file not in dict(named)]):
        raise UsageError(f"{folder}: the name of {other[0]} says no part, and others' do; name it so, or take it away")
    for place, (file, part) in enumerate(named):
        if (twin := next((earlier for earlier, its in named[:place] if its == part), None)) is not None:
            raise UsageError(f"{folder}: {twin.name} and {file.name} are both the {part} part; keep one of them")
    return list(named) or [(file, None) for file in files]
