"""Clips as folders of pictures, with a table of the labels of their frames."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from corinth.data.collect import SPLIT_WORDS, Collected, Progress, workers
from corinth.data.decode import UnreadableImage, decode, is_image_file, quiet
from corinth.data.sequences.clips import Clip, gather_clips, in_channels
from corinth.data.tables import Table, read_table
from corinth.errors import DataError

LABELS_FILE = "labels.csv"
COLUMNS = ("clip", "frame", "label")  # of that file


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
    return gather_clips(found, str(path), max_corrupt)


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
            raise DataError(
                f"{table.place(row)}: frame {frame!r} of clip {clip!r} has a label already, {mine[frame]!r}"
            )
    return labels, place


def _column(table: Table, name: str) -> str:
    return next(column for column in table.columns if column.strip().lower() == name)


def _labelled(
    clip: Clip, folder: Path, labels: dict[str, str], place: dict[str, str], part: str | None, root: Path
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
            reason = (
                f"frame {file.name} is {sizes[0]} and {files[0].name} {sizes[1]}; all frames of a clip need one size"
            )
            return Clip(nothing, str(folder), problem=reason)
    return Clip(in_channels(read, max(frame.shape[2] for frame in read)), str(folder))


def _frame(file: Path) -> np.ndarray | str:
    """(H, W, C), or why there is none."""
    try:
        pixels = decode(file)
    except UnreadableImage as error:
        return str(error)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def is_clip(path: Path) -> bool:
    """Whether a folder has frames in it, and not clips."""
    return path.is_dir() and any(is_image_file(file) for file in path.iterdir())
