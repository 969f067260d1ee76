"""Samples and their labels, by position: what every kind of data set is turned into."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from corinth.data.decode import Header, decode

_TAIL = 4096  # the end of an image file is compressed pixels, where different images differ


class Source(Protocol):
    """Indexable samples that can be pickled for worker processes."""

    @property
    def unit(self) -> str: ...  # what one sample is called

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> np.ndarray: ...  # int64 (N,), positions in `classes`

    def __len__(self) -> int: ...

    def name(self, i: int) -> str: ...  # a path or "digits[12]", for people

    def key(self, i: int) -> str: ...  # as `name`, but the same wherever the data lies

    def duplicate_groups(self) -> np.ndarray: ...  # int64 (N,): equal numbers, equal samples

    def content(self) -> Iterable[bytes]: ...  # what changes when a sample does


class ImageSource(Source, Protocol):
    """Images, uint8."""

    @property
    def sizes(self) -> np.ndarray: ...  # int64 (N, 2), (H, W) upright

    @property
    def channels(self) -> np.ndarray: ...  # int64 (N,), 1 or 3

    def image(self, i: int) -> np.ndarray: ...  # uint8 (H, W) or (H, W, 3); raises UnreadableImage


@runtime_checkable
class TargetSource(Source, Protocol):
    """Samples whose targets are read one by one; `labels` are all 0, and `classes` empty where there are none."""

    def target(self, i: int) -> np.ndarray:
        """Of an image, in its own pixels: a mask, uint8 (H, W), or boxes, float32 (n, 5): label, x1, y1, x2, y2. Of a
        sentence its tags, int64 (T,); of what has no classes as its task needs it. Raises UnreadableImage."""
        ...

    def fingerprint_bytes(self) -> Iterable[bytes]:
        """What changes when a target does."""
        ...

    def amounts(self) -> np.ndarray:
        """int64 (N, K): how much each sample has of every class, in pixels, boxes or words; K can be 0."""
        ...

    def onto(self, classes: Sequence[str], where: str) -> "TargetSource":
        """The same with labels that are positions in `classes`; `DataError` for one that is not among them."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Images of one size in one array, uint8 (N, H, W) or (N, H, W, 3)."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    prefix: str
    unit: ClassVar[str] = "image"

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
        return number_groups(
            hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in self.images
        )

    def content(self) -> Iterable[bytes]:
        yield np.ascontiguousarray(self.images).tobytes()


@dataclass(frozen=True)
class FileSource:
    """Image files; the headers have been read."""

    paths: tuple[str, ...]
    keys: tuple[str, ...]  # paths relative to the data's folder, with forward slashes
    labels: np.ndarray
    classes: tuple[str, ...]
    headers: tuple[Header, ...]
    unit: ClassVar[str] = "image"

    @cached_property  # asked for image by image
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
        """By file content. Read are the ends of files that share their length, and all of what shares that too."""
        lengths = [str(header.bytes).encode() for header in self.headers]
        ends = self._refine(lengths, _TAIL)
        return number_groups(self._refine(ends, None))

    def content(self) -> Iterable[bytes]:
        lines = (f"{key}\0{header.bytes}\n" for key, header in zip(self.keys, self.headers, strict=True))
        yield "".join(lines).encode()

    def _refine(self, keys: list[bytes], tail: int | None) -> list[bytes]:
        """Keys that several files have, made longer by a hash of (the last `tail` bytes of) each file."""
        counts = Counter(keys)
        shared = [i for i, key in enumerate(keys) if counts[key] > 1]
        refined = list(keys)
        for i in shared:
            refined[i] += _digest(self.paths[i], tail)
        return refined


def _digest(path: str, tail: int | None) -> bytes:
    try:
        with open(path, "rb") as file:
            if tail is not None:
                file.seek(-min(tail, os.path.getsize(path)), os.SEEK_END)
            return hashlib.blake2b(file.read(), digest_size=16).digest()
    except OSError:  # gone since its header was read: reported when it is decoded, and no copy of another one
        return path.encode()


def number_groups(keys: Iterable[bytes]) -> np.ndarray:
    """Equal numbers for equal keys, from 0 in the order of their first."""
    numbers: dict[bytes, int] = {}
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), dtype=np.int64)
