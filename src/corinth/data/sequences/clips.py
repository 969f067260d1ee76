"""Clips, frame after frame, with a class for each frame: NumPy archives, and folders of pictures."""

import re
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar

import numpy as np

from corinth.data.collect import (
    SPLIT_WORDS,
    Collected,
    Progress,
    check_left,
    check_names,
    check_usable,
    ordered,
    workers,
)
from corinth.data.decode import UnreadableImage, decode, is_image_file, quiet
from corinth.data.sequences.archives import ends_of, groups_of, labels_of, lengths_of, read_arrays, step_labels_of
from corinth.data.sequences.files import declared_parts
from corinth.data.sequences.labelled import FRAMES, StepLabels, numbered
from corinth.data.source import number_groups
from corinth.data.tables import Table, read_table
from corinth.errors import DataError

LABELS_FILE = "labels.csv"
COLUMNS = ("clip", "frame", "label")  # of that file


@dataclass(frozen=True, kw_only=True)
class ClipSource(StepLabels):
    """Clips, uint8 (T, H, W, C), all of one size, each with at least one frame, and a class for every frame."""

    clips: tuple[np.ndarray, ...]
    places: tuple[str, ...]
    tags: tuple[np.ndarray, ...]  # int64 (T,) of each
    classes: tuple[str, ...]
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
    return _gathered(found, str(files[0][0].parent if len(files) > 1 else files[0][0]), max_corrupt)


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
            raise DataError(f"{path}: x{end} is {arrays[f'x{end}'].shape}; clips are (N, T, H, W) or (N, T, H, W, 1 or 3)")
        if x.dtype != np.uint8:
            raise DataError(f"{path}: x{end} is {x.dtype}{_not_finite(x)}; the pixels of frames are uint8, from 0 to 255")
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


# ---- folders ----


def is_clip_folder(path: Path) -> bool:
    """Whether a folder, or each of its parts, has a `labels.csv` with a row for every frame of the clips beside it."""
    roots = _roots(path)
    return bool(roots) and all(_names_frames(root / LABELS_FILE) for root, _ in roots)


def _names_frames(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        header = {cell.strip().strip('"').lower() for cell in re.split(r"[,;\t]", lines.readline())}
    return set(COLUMNS) <= header


def _roots(path: Path) -> list[tuple[Path, str | None]]:
    """Folders of clips and the part that each is."""
    if not path.is_dir():
        return []
    if (path / LABELS_FILE).is_file():
        return [(path, None)]
    named = [(child, SPLIT_WORDS.get(child.name.lower())) for child in sorted(path.iterdir()) if child.is_dir()]
    return [(child, part) for child, part in named if part is not None]


def open_clip_folder(path: Path, *, max_corrupt: float, progress: Progress | None = None) -> Collected:
    """The clips of `<part>/<clip>/` with `<part>/labels.csv`, or without parts."""
    found: list[Clip] = []
    for root, part in _roots(path):
        labels, place = _labels(root)
        clips = [child for child in sorted(root.iterdir()) if child.is_dir() and not child.name.startswith(".")]
        if lost := sorted(set(labels) - {clip.name for clip in clips}):
            raise DataError(f"{place[lost[0]]}: there is no clip {lost[0]!r} beside {LABELS_FILE}")
        for done, folder in enumerate(clips, start=1):
            found.append(_labelled(read_clip(folder), folder, labels.get(folder.name, {}), place, part, path))
            if progress and (done % 20 == 0 or done == len(clips)):
                progress("reading clips", done, len(clips))
    if not found:
        raise DataError(f"{path}: there are no clips; each is a folder of frames beside {LABELS_FILE}")
    return _gathered(found, str(path), max_corrupt)


def _labels(root: Path) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Clip -> frame -> label, frames by their names as the table has them; and where the table speaks of each clip."""
    table = read_table(root / LABELS_FILE)
    clip_in, frame_in, label_in = (_column(table, name) for name in COLUMNS)
    labels: dict[str, dict[str, str]] = {}
    place: dict[str, str] = {}
    for row, (clip, frame, label) in enumerate(zip(*(table.columns[name] for name in (clip_in, frame_in, label_in)))):
        for name, cell in zip(COLUMNS, (clip, frame, label)):
            if not cell:
                raise DataError(f"{table.place(row)}: column {name!r} is empty; every frame needs a label")
        mine = labels.setdefault(clip, {})
        place.setdefault(clip, table.place(row))
        if mine.setdefault(frame, label) != label:
            raise DataError(f"{table.place(row)}: frame {frame!r} of clip {clip!r} has a label already, {mine[frame]!r}")
    return labels, place


def _column(table: Table, name: str) -> str:
    return next(column for column in table.columns if column.strip().lower() == name)


def _labelled(
    clip: "Clip", folder: Path, labels: dict[str, str], place: dict[str, str], part: str | None, root: Path
) -> Clip:
    """A clip that was read, with the labels of its frames; a frame without one and one without a frame are errors."""
    names = [file.name for file in frame_files(folder)]
    by_file = {name: labels.get(name, labels.get(Path(name).stem)) for name in names}
    if lacking := [name for name in names if by_file[name] is None]:
        raise DataError(f"{folder / lacking[0]} has no label in {folder.parent / LABELS_FILE}; every frame needs one")
    known = {*names, *(Path(name).stem for name in names)}
    if odd := next((name for name in labels if name not in known), None):
        raise DataError(f"{place[folder.name]}: clip {folder.name!r} has a label for frame {odd!r} and no such frame")
    own = tuple(label for name in names if (label := by_file[name]) is not None)
    return Clip(clip.frames, folder.relative_to(root).as_posix(), own, part, problem=clip.problem)


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a clip in the order of their names, numbers in them by value: 2.png before 10.png."""
    files = [file for file in folder.iterdir() if is_image_file(file) and not file.name.startswith(".")]
    return sorted(files, key=lambda file: [(int(w), "") if w.isdigit() else (-1, w) for w in _words(file.name)])


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"([0-9]+)", name) if word]


def read_clip(folder: Path) -> Clip:
    """The frames of a folder; what cannot be read, or is of another size than the first, is its `problem`."""
    files = frame_files(folder)
    nothing = np.empty((0, 1, 1, 1), dtype=np.uint8)
    if not files:
        return Clip(nothing, str(folder), problem="the clip has no frames")
    with quiet(), ThreadPoolExecutor(workers()) as pool:
        frames = list(pool.map(_frame, files))
    for file, frame in zip(files, frames, strict=True):
        if isinstance(frame, str):
            return Clip(nothing, str(folder), problem=f"frame {file.name}: {frame}")
    read = [frame for frame in frames if not isinstance(frame, str)]
    for file, frame in zip(files, read, strict=True):
        if frame.shape[:2] != read[0].shape[:2]:
            sizes = [f"{f.shape[0]} x {f.shape[1]}" for f in (frame, read[0])]
            reason = f"frame {file.name} is {sizes[0]} and {files[0].name} {sizes[1]}; all frames of a clip need one size"
            return Clip(nothing, str(folder), problem=reason)
    return Clip(in_channels(read, max(frame.shape[2] for frame in read)), str(folder))


def _frame(file: Path) -> np.ndarray | str:
    """(H, W, C), or why there is none."""
    try:
        pixels = decode(file)
    except UnreadableImage as error:
        return str(error)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def in_channels(frames: Sequence[np.ndarray] | np.ndarray, channels: int) -> np.ndarray:
    """Frames (H, W, C) as one clip of so many channels; grey ones have the same value in each."""
    return np.stack([np.broadcast_to(frame, (*frame.shape[:2], channels)) for frame in frames])


def is_clip(path: Path) -> bool:
    """Whether a folder has frames in it, and not clips."""
    return path.is_dir() and any(is_image_file(file) for file in path.iterdir())


# ---- both ----


def _gathered(found: Sequence[Clip], where: str, max_corrupt: float) -> Collected:
    good = [clip for clip in found if clip.problem is None]
    corrupt = [(clip.place, clip.problem) for clip in found if clip.problem is not None]
    check_usable(corrupt, len(found), max_corrupt, where, "clip")
    if not good:
        raise DataError(f"{where}: there are no clips")
    for clip in good:
        if clip.frames.shape[1:3] != good[0].frames.shape[1:3]:
            sizes = [f"{c.frames.shape[1]} x {c.frames.shape[2]}" for c in (clip, good[0])]
            raise DataError(
                f"{where}: the frames of {clip.place} are {sizes[0]} and those of {good[0].place} {sizes[1]}; bring all "
                "clips to one size"
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
