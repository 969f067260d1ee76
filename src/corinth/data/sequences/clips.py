"""Clips, frame after frame, with a class for each frame; from NumPy archives. Folders are in clip_folders.py."""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar

import numpy as np

from corinth.data.collect import (
    Collected,
    check_left,
    check_names,
    check_usable,
    ordered,
)
from corinth.data.sequences.archives import ends_of, groups_of, labels_of, lengths_of, read_arrays, step_labels_of
from corinth.data.sequences.files import declared_parts
from corinth.data.sequences.labelled import FRAMES, StepLabels, numbered
from corinth.data.source import number_groups
from corinth.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ClipSource(StepLabels):
    """Clips, uint8 (T, H, W, C), all of one size, each with at least one frame, and a class for every frame."""

    clips: tuple[np.ndarray, ...]
    places: tuple[str, ...]
    groups: tuple[str, ...] = ()  # of each clip what must stay in one part with it, such as the person
    order: tuple[float, ...] = ()
    unit: ClassVar[str] = "clip"

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.clips[0].shape[1:]
        return height, width, channels

    @property
    def said(self) -> str:
        """The size of the frames, for people."""
        height, width, channels = self.frame_shape
        return f"{height} x {width} pixels, {'grey' if channels == 1 else 'colour'}"

    def sequence(self, i: int) -> np.ndarray:
        return self.clips[i]

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 (N,), in frames."""
        return np.array([len(clip) for clip in self.clips], dtype=np.int64)

    def name(self, i: int) -> str:
        return self.places[i]

    def key(self, i: int) -> str:
        return self.places[i]

    def duplicate_groups(self) -> np.ndarray:
        return number_groups(blake2b(part, digest_size=16).digest() for part in self.content())

    def content(self) -> Iterable[bytes]:
        for clip in self.clips:
            yield str(clip.shape).encode() + clip.tobytes()


@dataclass(frozen=True)
class Clip:
    """One clip as it was read: `problem` is why it cannot be used."""

    frames: np.ndarray  # uint8 (T, H, W, C)
    place: str
    labels: tuple[str, ...] = ()
    split: str | None = None
    group: str = ""
    order: float = 0.0
    problem: str | None = None


# ---- archives ----


def hold_clips(files: Sequence[tuple[Path, str | None]]) -> bool:
    """Whether archives have `x` of four or more dimensions, by the first of them; nothing else is read."""
    if not files or files[0][0].suffix.lower() != ".npz":
        return False
    try:
        with zipfile.ZipFile(files[0][0]) as archive:
            names = [name for name in archive.namelist() if name.removesuffix(".npy").partition("_")[0] == "x"]
            return bool(names) and _dimensions(archive, names[0]) > 3
    except (OSError, ValueError, zipfile.BadZipFile):
        return False  # whose reader says why


def _dimensions(archive: zipfile.ZipFile, name: str) -> int:
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return len(read(file)[0])


def open_archives(files: Sequence[tuple[Path, str | None]], *, max_corrupt: float) -> Collected:
    """All clips of some archives as one data set."""
    found = [clip for path, part in files for clip in read_archive(path, part)]
    return gather_clips(found, str(files[0][0].parent if len(files) > 1 else files[0][0]), max_corrupt)


def read_archive(path: Path, part: str | None = None, *, labelled: bool = True) -> list[Clip]:
    """Arrays `x` uint8 (N, T, H, W) or (N, T, H, W, C), `y` (N, T), or (N,) where all frames of a clip have one label,
    `lengths` (N,), `group` and `order` as of series; without `labelled` y may lack."""
    arrays = read_arrays(path)
    found = []
    for end in ends_of(arrays, path):
        if labelled and f"y{end}" not in arrays:
            raise DataError(f"{path}: has x{end} and no y{end}; every frame needs a label")
        x, where = arrays[f"x{end}"], f"{path}: y{end}"
        x = x[..., None] if x.ndim == 4 else x
        if x.ndim != 5 or x.shape[4] not in (1, 3):
            raise DataError(
                f"{path}: x{end} is {arrays[f'x{end}'].shape}; clips are (N, T, H, W) or (N, T, H, W, 1 or 3)"
            )
        if x.dtype != np.uint8:
            raise DataError(
                f"{path}: x{end} is {x.dtype}{_not_finite(x)}; the pixels of frames are uint8, from 0 to 255"
            )
        lengths = lengths_of(arrays, end, path)
        labels: Sequence[tuple[str, ...]] = [()] * len(x)
        if labelled and (y := arrays[f"y{end}"]).ndim == 1:
            whole = labels_of(y, len(x), where, "clips")
            labels = [(label,) * length for label, length in zip(whole, lengths.tolist())]
        elif labelled:
            labels = step_labels_of(y, x, lengths, where)
        groups, order = groups_of(arrays, end, len(x), str(path))
        for row, (length, own) in enumerate(zip(lengths.tolist(), labels)):
            place, problem = f"{path.name}, x{end}[{row}]", None if length else "the clip has no frames"
            found.append(Clip(x[row, :length], place, own, end[1:] or part, groups[row], order[row], problem))
    return found


def _not_finite(x: np.ndarray) -> str:
    if x.dtype.kind != "f" or np.isfinite(x).all():
        return ""
    return " and has values that are missing or not finite"


# ---- both ----


def in_channels(frames: Sequence[np.ndarray] | np.ndarray, channels: int) -> np.ndarray:
    """Frames (H, W, C) as one clip of so many channels; grey ones have the same value in each."""
    return np.stack([np.broadcast_to(frame, (*frame.shape[:2], channels)) for frame in frames])


def gather_clips(found: Sequence[Clip], where: str, max_corrupt: float) -> Collected:
    """Clips that were read as one data set."""
    good = [clip for clip in found if clip.problem is None]
    corrupt = [(clip.place, clip.problem) for clip in found if clip.problem is not None]
    check_usable(corrupt, len(found), max_corrupt, where, "clip")
    if not good:
        raise DataError(f"{where}: there are no clips")
    for clip in good:
        if clip.frames.shape[1:3] != good[0].frames.shape[1:3]:
            one, other = (f"{c.frames.shape[1]} x {c.frames.shape[2]}" for c in (clip, good[0]))
            raise DataError(
                f"{where}: the frames of {clip.place} are {one} and those of {good[0].place} {other}; bring all clips "
                "to one size"
            )
    channels = max(clip.frames.shape[3] for clip in good)
    names = ordered({label for clip in good for label in clip.labels})
    check_names(names, where)
    check_left(names, {label for clip in found for label in clip.labels}, where)
    source = ClipSource(
        clips=tuple(
            clip.frames if clip.frames.shape[3] == channels else in_channels(clip.frames, channels) for clip in good
        ),
        places=tuple(clip.place for clip in good),
        tags=numbered([clip.labels for clip in good], names),
        classes=tuple(names),
        groups=tuple(clip.group for clip in good) if any(clip.group for clip in good) else (),
        order=tuple(clip.order for clip in good) if any(clip.order for clip in good) else (),
    )
    size = sum(clip.nbytes for clip in source.clips) / 1e6
    notes = [f"frames are {source.said}; all clips take {size:,.1f} MB of memory"]
    return Collected(source, declared_parts([clip.split for clip in good]), corrupt, notes, FRAMES)
