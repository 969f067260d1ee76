"""What pictures with captions go through: pixels to the encoder's input, captions to tokens, pictures read once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence

from corinth.data.augment import TrainTransform
from corinth.data.augmentation import Augmentation
from corinth.data.captions import CaptionSource
from corinth.data.images import ImageData
from corinth.data.preprocess import Preprocess
from corinth.data.sequences.batch import NO_TAG
from corinth.data.sequences.wording import Wording
from corinth.data.store import MemoryStore, StreamStore, make_store
from corinth.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CaptionEncoding:
    """The preprocessing of pictures and the tokens of their captions; saved with the weights."""

    images: Preprocess
    words: Wording
    kind: ClassVar[str] = "captions"

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of a picture, as the network takes it."""
        return self.images.shape

    @property
    def size(self) -> tuple[int, int]:
        return self.images.size

    @property
    def channels(self) -> int:
        return self.images.channels

    def __call__(self, image: np.ndarray | Image.Image) -> Tensor:
        """One picture to uint8 (C, H, W)."""
        return self.images(image)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) to what the network takes."""
        return self.images.normalise(images)

    def random_inputs(self, size: int) -> Tensor:
        """Made-up pictures, to time and to measure a training step with."""
        return self.images.random_inputs(size)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "images": self.images.to_dict(), "words": self.words.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CaptionEncoding":
        """The inverse of `to_dict`; an unknown or missing key is a `UsageError`."""
        if wrong := sorted({"kind", "images", "words"} ^ set(values)):
            raise UsageError(f"an encoding of kind {cls.kind} has images and words; check {', '.join(wrong)}")
        return cls(images=Preprocess.from_dict(values["images"]), words=Wording.from_dict(values["words"]))


class CaptionStore:
    """Pictures of a part, decoded once, by caption: a row for each caption, or with `together` for each picture.

    Targets are tokens int64 (B, R, T): of R captions each, as many as the picture with the most of them has, -100
    behind the end of each and where a picture has fewer.
    """

    def __init__(
        self, data: ImageData, pictures: MemoryStore | StreamStore, encoding: CaptionEncoding, *, together: bool
    ) -> None:
        source: Any = data.source
        assert isinstance(source, CaptionSource)
        self.pictures = pictures
        self._picture: list[int] = []  # of each row
        self._captions: list[list[Tensor]] = []
        for picture, position in enumerate(pictures.index.tolist()):
            captions = encoding.words.targets(source.captions[position])
            for some in [captions] if together else [[caption] for caption in captions]:
                self._picture.append(picture)
                self._captions.append(some)
        self.index = pictures.index[torch.tensor(self._picture, dtype=torch.int64)]

    @classmethod
    def made(
        cls, data: ImageData, split: str | np.ndarray, encoding: CaptionEncoding, *, together: bool
    ) -> "CaptionStore":
        """In memory if the pictures fit, else streamed, as `make_store`."""
        source: Any = data.source
        pictures = make_store(replace(data, source=source.pictures()), split, encoding.images)
        return cls(data, pictures, encoding, together=together)

    @property
    def dropped(self) -> Sequence[tuple[str, str]]:
        return self.pictures.dropped

    def __len__(self) -> int:
        return len(self._picture)

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        return order

    def ready(self, inputs: Tensor) -> Tensor:
        return self.pictures.ready(inputs)

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        wanted = list(batches)
        read = self.pictures.stream([torch.tensor([self._picture[row] for row in rows.tolist()]) for rows in wanted])
        for rows, (pictures, images, _) in zip(wanted, read, strict=True):
            there = {*pictures.tolist()}  # the others are damaged
            kept = [row for row in rows.tolist() if self._picture[row] in there]
            yield torch.tensor(kept, dtype=torch.int64), images, collate([self._captions[row] for row in kept])


def collate(captions: Sequence[Sequence[Tensor]]) -> Tensor:
    """Of each picture its captions, (B, R, T)."""
    most = max(map(len, captions), default=1)
    none = torch.empty(0, dtype=torch.int64)
    flat = [caption for some in captions for caption in [*some, *[none] * (most - len(some))]]
    if not flat:
        return torch.empty(0, most, 0, dtype=torch.int64)
    return pad_sequence(flat, batch_first=True, padding_value=NO_TAG).unflatten(0, (len(captions), most))


class CaptionTransform:
    """What training pictures go through; captions stay."""

    def __init__(self, encoding: CaptionEncoding, augmentation: Augmentation) -> None:
        self.pixels = TrainTransform(encoding.images, augmentation, num_classes=1)

    def __call__(self, images: Tensor, targets: Tensor, chance: Generator) -> tuple[Tensor, Tensor]:
        return self.pixels(images, targets, chance)
