"""The one path from a clip to a network's input; it belongs to the weights and is saved with them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from corinth.data.sequences.asked import Asked
from corinth.data.sequences.batch import Sequences
from corinth.data.sequences.clips import ClipSource, in_channels
from corinth.errors import DataError

CONSTANT = 1e-6  # spread of a channel up to which it is rounding


@dataclass(frozen=True, kw_only=True)
class ClipEncoding(Asked):
    """Clips, uint8 (T, H, W, C), to float32 (T, C, H, W) of zero mean and unit spread in each channel, a batch at a
    time; of training clips the first `max_len` frames are kept."""

    mean: tuple[float, ...]  # of pixels in [0, 1]
    std: tuple[float, ...]
    size: tuple[int, ...]  # (H, W)
    max_len: int | None = None
    typical: int = 1  # frames of the median training clip
    longest: int = 1  # of the longest, as far as it is kept
    kind: ClassVar[str] = "clips"

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a typical input."""
        return (self.typical, self.channels, *self.size)

    def __call__(self, clips: Sequence[np.ndarray]) -> list[Tensor]:
        """Each as the network takes it."""
        return [self.finish(Sequences.of(row[None])).values[0] for row in self.rows(clips)]

    def rows(self, clips: Sequence[np.ndarray]) -> list[Tensor]:
        """Each uint8 (T, C, H, W), as far as it is kept, before what is done to a batch."""
        kept = (self.checked(clip)[: self.max_len] for clip in clips)
        return [torch.from_numpy(np.ascontiguousarray(clip.transpose(0, 3, 1, 2))) for clip in kept]

    def finish(self, inputs: Sequences) -> Sequences:
        """Rows of `rows`, padded to a batch, as the network takes them."""
        device = inputs.values.device
        mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (self.mean, self.std))
        values = (inputs.values.float() / 255 - mean) / std
        return Sequences(values * inputs.inside()[:, :, None, None, None], inputs.lengths)

    def checked(self, clip: np.ndarray) -> np.ndarray:
        """The clip, uint8 (T, H, W, C), if it can be used: (T, H, W) of grey ones too, in the network's channels."""
        clip = clip[..., None] if clip.ndim == 3 else clip
        wanted = f"a clip here is uint8 (frames, {', '.join(map(str, (*self.size, self.channels)))})"
        if clip.ndim != 4 or clip.dtype != np.uint8:
            raise DataError(f"{wanted}, and this one is {clip.dtype} {clip.shape}")
        if not len(clip):
            raise DataError("the clip has no frames")
        if clip.shape[1:3] != tuple(self.size) or clip.shape[3] not in (1, self.channels):
            raise DataError(f"{wanted}, and this one is {clip.shape}; bring its frames to that size")
        return clip if clip.shape[3] == self.channels else in_channels(clip, self.channels)

    def network_options(self) -> dict[str, int]:
        return {"in_chans": self.channels}

    def count_cut(self, data: Any) -> int:
        """Of training clips; every frame of the others gets an answer."""
        return 0 if self.max_len is None else int((data.source.lengths[data.positions("train")] > self.max_len).sum())

    def check_data(self, data: Any) -> None:
        """Data that are no clips, or of other frames, are a `DataError`."""
        if not isinstance(data.source, ClipSource):
            raise DataError(f"{data.name} holds no clips of frames, which the network takes")
        height, width, channels = data.source.frame_shape
        if (height, width) != tuple(self.size) or channels not in (1, self.channels):
            mine = f"{self.size[0]} x {self.size[1]} pixels, {'grey' if self.channels == 1 else 'colour'}"
            raise DataError(f"{data.name} has frames of {data.source.said}, and the network takes {mine}")

    def random_inputs(self, size: int, steps: int | None = None) -> Sequences:
        """Made-up inputs of so many frames, by default of the longest, to time and to measure a training step with."""
        return Sequences.of(torch.randn(size, self.longest if steps is None else steps, self.channels, *self.size))

    @classmethod
    def measured(cls, data: Any, *, max_len: int | None) -> "ClipEncoding":
        """Mean and spread of the training part alone; a constant channel is only centred."""
        source = data.source
        assert isinstance(source, ClipSource)
        rows = data.positions("train")
        counts = np.sum([_histogram(source.clips[i][:max_len]) for i in rows], axis=0)  # (C, 256), exact
        levels = np.arange(256) / 255
        mean = counts @ levels / counts.sum(axis=1)
        std = np.sqrt(np.maximum(counts @ levels**2 / counts.sum(axis=1) - mean**2, 0))
        lengths = source.lengths[rows] if max_len is None else np.minimum(source.lengths[rows], max_len)
        height, width, _ = source.frame_shape
        return cls(
            mean=tuple(mean.tolist()),
            std=tuple(np.where(std > CONSTANT, std, 1.0).tolist()),
            size=(height, width),
            max_len=max_len,
            typical=int(np.median(lengths)),
            longest=int(lengths.max()),
        )

    def to_dict(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": self.kind} | {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def _histogram(clip: np.ndarray) -> np.ndarray:
    """How often each level occurs in each channel, int64 (C, 256)."""
    return np.stack([np.bincount(clip[..., c].ravel(), minlength=256) for c in range(clip.shape[3])])
