"""Raw images and their labels, by position: what every kind of data set is turned into."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from corinth.data.decode import Header, decode


class ImageSource(Protocol):
    """Indexable images that can be pickled for worker processes."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> np.ndarray: ...  # int64 (N,), positions in `classes`

    @property
    def sizes(self) -> np.ndarray: ...  # int64 (N, 2), (H, W) upright

    @property
    def channels(self) -> np.ndarray: ...  # int64 (N,), 1 or 3

    def __len__(self) -> int: ...

    def image(self, i: int) -> np.ndarray: ...  # uint8 (H, W) or (H, W, 3); raises UnreadableImage

    def name(self, i: int) -> str: ...  # a path or "digits[12]", for people

    def key(self, i: int) -> str: ...  # as `name`, but the same wherever the data lies

    def duplicate_groups(self) -> np.ndarray: ...  # int64 (N,): equal numbers, equal bytes


@dataclass(frozen=True)
class ArraySource:
    """Images of one size in one array, uint8 (N, H, W) or (N, H, W, 3)."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    prefix: str

    @property
    def sizes(self) -> np.ndarray:
        return np.broadcast_to(np.array(self.images.shape[1:3], dtype=np.int64), (len(self), 2))

    @property
    def channels(self) -> np.ndarray:
        return np.full(len(self), 1 if self.images.ndim == 3 else self.images.shape[3], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def image(self, i: int) -> np.ndarray:
        return self.images[i]

    def name(self, i: int) -> str:
        return f"{self.prefix}[{i}]"

    def key(self, i: int) -> str:
        return self.name(i)

    def duplicate_groups(self) -> np.ndarray:
        return _number(
            hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in self.images
        )


@dataclass(frozen=True)
class FileSource:
    """Image files; the headers have been read."""

    paths: tuple[str, ...]
    keys: tuple[str, ...]  # paths relative to the data's folder, with forward slashes
    labels: np.ndarray
    classes: tuple[str, ...]
    headers: tuple[Header, ...]

    @property
    def sizes(self) -> np.ndarray:
        return np.array([header.size for header in self.headers], dtype=np.int64).reshape(-1, 2)

    @property
    def channels(self) -> np.ndarray:
        return np.array([header.channels for header in self.headers], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, i: int) -> np.ndarray:
        return decode(self.paths[i])

    def name(self, i: int) -> str:
        return self.paths[i]

    def key(self, i: int) -> str:
        return self.keys[i]

    def duplicate_groups(self) -> np.ndarray:
        """By file content. Only files that share their length with another one are read."""
        lengths = Counter(header.bytes for header in self.headers)
        return _number(
            hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()
            if lengths[header.bytes] > 1
            else path.encode()
            for path, header in zip(self.paths, self.headers, strict=True)
        )


def _number(keys: Iterable[bytes]) -> np.ndarray:
    numbers: dict[bytes, int] = {}
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), dtype=np.int64)
