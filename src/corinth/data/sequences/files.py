"""What the readers of sequences share: a file's text, and the parts that samples say they are in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from corinth.errors import DataError


def read_text(path: Path) -> str:
    """A UTF-8 file; bytes that are none are a `DataError` that says which."""
    try:
        return path.read_bytes().decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start} ({error.object[error.start]:#04x}) is not UTF-8; save the file as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error


def declared_parts(splits: Sequence[str | None]) -> dict[str, np.ndarray]:
    """Positions of each part that some sample says it is in."""
    named = np.array([split or "" for split in splits], dtype=object)
    return {part: np.flatnonzero(named == part) for part in ("train", "val", "test") if (named == part).any()}
