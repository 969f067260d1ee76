"""The one deterministic path from an image to a network's input; it belongs to the weights and is saved with them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from corinth.data.decode import to_array
from corinth.errors import DataError, UsageError

if TYPE_CHECKING:
    from corinth.data.images import ImageData

FITS = ("crop", "squash", "pad")
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
LONGEST = 512  # pixels of an input's longer side, unless a person says otherwise
IGNORED = 255  # the class id of mask pixels that no loss and no score counts


@dataclass(frozen=True)
class Placement:
    """Where an image lands in the input: a window of it, resized, at a place of the canvas. Pixels."""

    top: int  # the window of the image
    left: int
    window: tuple[int, int]
    above: int  # its place in the input
    before: int
    resized: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels for one of the image, down and across."""
        return self.resized[0] / self.window[0], self.resized[1] / self.window[1]


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Size, channels and normalisation of a network's input.

    `mean` and `std` are per channel, of pixels in [0, 1]. `fit` says how an image of another shape gets to `size`:
    - `crop`: the largest centred window of the target's aspect, of which `crop_pct` of each side is kept, is resized;
    - `squash`: both sides are resized, the aspect is lost;
    - `pad`: the image is centred on a canvas of `pad_value`; it is shrunk only if it does not fit, never enlarged.

    Resizing is torch's antialiased uint8 resize, always after cropping. One input channel is made of three with the
    luma of ITU-R 601 (rounded as Pillow does), three of one by repeating it.
    """

    size: tuple[int, int]  # (H, W)
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str = "crop"
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    pad_value: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.size) != 2 or min(self.size) < 1:
            raise UsageError(f"size {self.size} is not (height, width) in pixels, both at least 1")
        if self.channels < 1:
            raise UsageError(f"channels {self.channels} is not at least 1")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise UsageError(f"mean {self.mean} and std {self.std} need one value for each of {self.channels} channels")
        if min(self.std) <= 0:
            raise UsageError(f"std {self.std} has a value that is not above 0")
        if self.fit not in FITS:
            raise UsageError(f"fit {self.fit!r} is none of {', '.join(FITS)}")
        if self.interpolation not in INTERPOLATIONS:
            raise UsageError(f"interpolation {self.interpolation!r} is none of {', '.join(INTERPOLATIONS)}")
        if not 0 < self.crop_pct <= 1:
            raise UsageError(f"crop_pct {self.crop_pct} is not in (0, 1]")
        if not 0 <= self.pad_value <= 255:
            raise UsageError(f"pad_value {self.pad_value} is not in 0..255")

    def __call__(self, image: np.ndarray | Image.Image) -> Tensor:
        """One image, uint8 (H, W) or (H, W, C) or a Pillow image, to uint8 (C, H, W)."""
        pixels = to_array(image) if isinstance(image, Image.Image) else image
        return self.batch(pixels[None])[0]

    def batch(self, images: np.ndarray) -> Tensor:
        """Images of one size, uint8 (N, H, W) or (N, H, W, C), to uint8 (N, C, H, W); the same as one by one."""
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise DataError(f"an image is uint8 (H, W) or (H, W, C), not {images.dtype} {images.shape[1:]}")
        if not images.flags.writeable:
            images = images.copy()  # torch has no read-only tensors
        x = torch.from_numpy(images)
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
        if x.shape[1] == 3 and self.channels == 1:
            x = luma(x)
        x = self._fit(x)
        if x.shape[1] == 1 and self.channels == 3:
            x = x.expand(-1, 3, -1, -1)
        if x.shape[1] != self.channels:
            raise DataError(f"an image has {x.shape[1]} channels and the network takes {self.channels}")
        return x.contiguous()

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) to float32 with zero mean and unit spread, on the images' device."""
        scale, shift = _affine(self.mean, self.std, images.device)
        return images.to(torch.float32, memory_format=torch.contiguous_format, copy=True).mul_(scale).add_(shift)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an input."""
        return (self.channels, *self.size)

    def random_inputs(self, size: int) -> Tensor:
        """Made-up inputs, to time and to measure a training step with."""
        return self.normalise(torch.randint(0, 256, (size, *self.shape), dtype=torch.uint8))

    def bytes_for(self, count: int) -> int:
        """Bytes that `count` preprocessed images take in memory."""
        return count * self.channels * self.size[0] * self.size[1]

    def to_dict(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """The inverse of `to_dict`; an unknown or missing key is a `UsageError`."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise UsageError(f"preprocess has no field {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
        if missing := {"size", "channels", "mean", "std"} - set(values):
            raise UsageError(f"preprocess lacks {', '.join(sorted(missing))}")
        return cls(**values)

    @classmethod
    def measured(
        cls,
        data: "ImageData",
        *,
        size: tuple[int, int] | int,
        channels: int | None = None,
        fit: str = "crop",
        crop_pct: float = 1.0,
        interpolation: str = "bilinear",
        pad_value: int = 0,
        samples: int = 2048,
    ) -> "Preprocess":
        """With mean and std measured on the training part, over at most `samples` images spread evenly through it.

        They are measured after fitting, so padding counts, and rounded to four places. `channels` is the data's
        own number if not given.
        """
        from corinth.data.store import decode_all

        channels = data.channels if channels is None else channels
        plain = cls(
            size=(size, size) if isinstance(size, int) else size,
            channels=channels,
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
            fit=fit,
            crop_pct=crop_pct,
            interpolation=interpolation,
            pad_value=pad_value,
        )
        train = data.splits["train"]
        chosen = train[np.linspace(0, len(train) - 1, min(samples, len(train))).astype(np.int64)]
        images, _, _ = decode_all(data.source, chosen, plain, targets=False)
        if not len(images):
            raise DataError(f"{data.name}: no training image could be decoded, so mean and std cannot be measured")
        pixels = images.transpose(0, 1).flatten(1)  # (C, N * H * W), uint8
        counts = torch.stack([torch.bincount(channel, minlength=256) for channel in pixels]).double()
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean = (counts * levels).sum(1) / counts.sum(1)
        std = ((counts * (levels - mean[:, None]) ** 2).sum(1) / counts.sum(1)).sqrt()
        std = torch.where(std < 1e-4, 1.0, std)  # a constant channel is only centred
        values = {f.name: getattr(plain, f.name) for f in fields(cls)}
        values |= {"mean": tuple(round(v, 4) for v in mean.tolist()), "std": tuple(round(v, 4) for v in std.tolist())}
        return cls(**values)

    def place(self, h: int, w: int) -> Placement:
        """How an image of h x w pixels is brought to `size`."""
        height, width = self.size
        if self.fit == "crop":
            scale = min(h / height, w / width) * self.crop_pct
            ch, cw = (max(1, min(side, round(target * scale))) for side, target in ((h, height), (w, width)))
            return Placement((h - ch) // 2, (w - cw) // 2, (ch, cw), 0, 0, self.size)
        if self.fit == "squash":
            return Placement(0, 0, (h, w), 0, 0, self.size)
        shrink = min(1.0, height / h, width / w)
        rh, rw = (max(1, min(target, round(side * shrink))) for side, target in ((h, height), (w, width)))
        return Placement(0, 0, (h, w), (height - rh) // 2, (width - rw) // 2, (rh, rw))

    def mask(self, mask: np.ndarray) -> Tensor:
        """The class ids that belong to an image, uint8 (h, w), to uint8 (H, W): nearest; padding is `IGNORED`."""
        return self._put(torch.from_numpy(np.array(mask))[None, None], "nearest", IGNORED)[0, 0]

    def mask_back(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Scores of the classes (K, H, W) to class ids of the image's own pixels, uint8 (h, w).

        The scores are enlarged bilinearly before the best is taken. Pixels that `crop` cut away are `IGNORED`.
        """
        place = self.place(*size)
        (rh, rw), (ch, cw) = place.resized, place.window
        seen = logits[None, :, place.above : place.above + rh, place.before : place.before + rw].float()
        if (rh, rw) != (ch, cw):
            seen = F.interpolate(seen, (ch, cw), mode="bilinear", align_corners=False)
        ids = torch.full(size, IGNORED, dtype=torch.uint8, device=logits.device)
        ids[place.top : place.top + ch, place.left : place.left + cw] = seen[0].argmax(0).to(torch.uint8)
        return ids

    def boxes(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes of an image of (h, w) pixels, (n, ...) whose last four are x1, y1, x2, y2, in input pixels."""
        place = self.place(*size)
        down, across = place.scale
        return torch.cat(
            [
                boxes[:, :-4],
                (boxes[:, -4:] - _corner(place.left, place.top, boxes)) * _corner(across, down, boxes)
                + _corner(place.before, place.above, boxes),
            ],
            dim=1,
        )

    def boxes_back(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """The inverse of `boxes`, cut at the borders of the image."""
        place = self.place(*size)
        down, across = place.scale
        corners = (boxes[:, -4:] - _corner(place.before, place.above, boxes)) / _corner(across, down, boxes)
        corners = (corners + _corner(place.left, place.top, boxes)).clamp(min=0)
        return torch.cat([boxes[:, :-4], torch.minimum(corners, _corner(size[1], size[0], boxes))], dim=1)

    def _fit(self, x: Tensor) -> Tensor:  # uint8 (N, C, h, w) to (N, C, H, W)
        return self._put(x, self.interpolation, self.pad_value)

    def _put(self, x: Tensor, interpolation: str, fill: int) -> Tensor:
        place = self.place(*x.shape[-2:])
        (ch, cw), (rh, rw), (height, width) = place.window, place.resized, self.size
        x = _resize(x[..., place.top : place.top + ch, place.left : place.left + cw], rh, rw, interpolation)
        if (rh, rw) == (height, width):
            return x
        after, below = width - rw - place.before, height - rh - place.above
        return F.pad(x, (place.before, after, place.above, below), value=fill)


def _resize(x: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    if x.shape[-2:] == (height, width):
        return x
    if interpolation == "nearest":
        return F.interpolate(x, (height, width), mode="nearest-exact")
    return F.interpolate(x, (height, width), mode=interpolation, antialias=True, align_corners=False)


def _corner(x: float, y: float, like: Tensor) -> Tensor:
    return torch.tensor((x, y, x, y), dtype=like.dtype, device=like.device)


def luma(x: Tensor) -> Tensor:
    """ITU-R 601 grey of uint8 RGB, (..., 3, H, W) to (..., 1, H, W): Pillow's own fixed-point sum, rounded."""
    r, g, b = x.to(torch.int32).unbind(-3)
    return ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).to(torch.uint8).unsqueeze(-3)


def choose_size(native_size: tuple[int, int], default_size: int, min_size: int, fixed: int | None = None) -> int:
    """The side of the square input for images of `native_size` (H, W) and an architecture; a person's choice aside.

    An architecture that works at one size only (`fixed`) gets it. Networks made for small images (default at most
    64) take images no larger than their default as they are, or enlarged to the smallest size the network can do.
    Everything else is brought to the architecture's default size.
    """
    if fixed is not None:
        return fixed
    native = max(native_size)
    if default_size <= 64 and native <= default_size:
        return max(native, min_size)
    return max(default_size, min_size)


def choose_sides(
    native_size: tuple[int, int], *, longest: int | None, stride: int, min_size: int, fit: str
) -> tuple[int, int]:
    """The input (H, W) of a network that answers for every place of an image; multiples of its `stride`.

    The sides are those of images of `native_size`, scaled so that the longer one is `longest` (by default their own,
    at most `LONGEST`); rounded up where the rest is padded, else to the nearest.
    """
    scale = (longest or min(max(native_size), LONGEST)) / max(native_size)
    rounded = math.ceil if fit == "pad" else round
    least = -(-min_size // stride)
    height, width = (stride * max(least, rounded(round(side * scale) / stride)) for side in native_size)
    return height, width


@lru_cache(maxsize=64)
def _affine(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """(x / 255 - mean) / std as x * scale + shift, each (C, 1, 1) on the device."""
    m, s = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (mean, std))
    return (1 / (255 * s)).to(device, torch.float32), (-m / s).to(device, torch.float32)
