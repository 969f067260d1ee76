"""Sequences without labels, to be predicted: as a person gives them, or from files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corinth.data.sequences.audio import AUDIO_SUFFIXES, features, is_audio_file, read_audio
from corinth.data.sequences.clip_folders import is_clip, read_clip
from corinth.data.sequences.clips import read_archive
from corinth.data.sequences.files import read_text
from corinth.data.sequences.series import SERIES_SUFFIXES, read_series
from corinth.data.sequences.steps import column_names, layout, read_steps
from corinth.data.sequences.texts import TEXT_COLUMNS, with_header
from corinth.data.tables import TABLE_SUFFIXES, Table, find_column, is_number, read_table
from corinth.errors import DataError, UsageError


@dataclass(frozen=True)
class Loose:
    """One sequence, a text or an array (T, C), by a name for people; or `error`, why there is none."""

    name: str
    value: Any = None
    error: str | None = None


def loose_texts(
    given: Iterable[Any], text_column: str | None = None, usual_column: str | None = None
) -> Iterator[Loose]:
    """Strings are texts themselves; paths are .txt files, folders of them, or tables with a text a row, which is in
    `text_column` or, where they have it, in `usual_column`."""
    for number, item in enumerate(given):
        if isinstance(item, str):  # numpy's too
            yield _text(shortened(item), str(item).strip())
            continue
        if not isinstance(item, Path):
            raise UsageError(f"a text is a string or a path, and number {number} is {type(item).__name__}")
        try:
            if item.suffix.lower() in TABLE_SUFFIXES:
                table = read_table(item)
                column = usual_column if text_column is None and usual_column in table.columns else text_column
                yield from _rows(table, column)
            elif item.is_dir():
                files = sorted(file for file in item.iterdir() if file.suffix.lower() == ".txt")
                if not files:
                    raise DataError("is a folder without .txt files")
                yield from loose_texts(files)
            else:
                yield _text(str(item), read_text(item).strip())
        except (DataError, OSError) as error:
            yield Loose(str(item), error=_behind(error, item))


def _rows(table: Table, text_column: str | None) -> Iterator[Loose]:
    """The texts of a table; those of its only column, or of its first where it has no header."""
    (table,) = with_header([table]) if text_column is None else [table]
    names = list(table.columns)
    if text_column is None and len(names) == 1:
        if names[0].lower() not in TEXT_COLUMNS:
            yield _text(f"{table.path}, line 1", names[0])
        column = names[0]
    else:
        column = find_column(table, text_column, TEXT_COLUMNS, "text")
    yield from (_text(table.place(row), text) for row, text in enumerate(table.columns[column]))


def _text(name: str, text: str) -> Loose:
    return Loose(name, text) if text else Loose(name or "(empty)", error="the text is empty")


def shortened(text: str, most: int = 60) -> str:
    """A text as a name: its beginning, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def loose_series(
    given: Iterable[Any], audio_rate: int | None = None, columns: Mapping[str, str | None] | None = None
) -> Iterator[Loose]:
    """Arrays or tensors (T, C), or (T,) of one channel; paths of .csv and .tsv files with a step a row, of .npy files
    of one series, of .ts and .npz files of many, with labels or without. With `audio_rate` also paths of recordings,
    and of folders with recordings in them.

    With `columns`, as a training read a table of many sequences, a table that has them is read like that, and of a
    file with a step a row and a header the channels are found by their names.
    """
    columns = columns or {}
    for number, item in enumerate(given):
        if not isinstance(item, str | Path):
            yield Loose(f"series {number}", _array(item, f"series {number}"))
            continue
        path = Path(item)
        try:
            if not path.exists():
                raise DataError("there is no such file")
            if path.is_dir():
                inside = sorted(file for file in path.rglob("*") if is_audio_file(file) and file.is_file())
                if not inside:
                    raise DataError(f"is a folder without recordings ({', '.join(AUDIO_SUFFIXES)})")
                yield from loose_series(inside, audio_rate)
            elif is_audio_file(path):
                if audio_rate is None:
                    raise DataError("is a recording, and the network was not trained on sound")
                yield Loose(str(path), features(*read_audio(path), audio_rate))
            elif path.suffix.lower() in SERIES_SUFFIXES:
                yield from (Loose(entry.place, entry.values) for entry in read_series(path, labelled=False))
            elif (table := _of_many(path, columns)) is not None:
                its = layout(table, columns, targets=False)
                yield from (
                    Loose(f"{path}, {entry.place.partition(', ')[2]}", entry.values) for entry in read_steps(table, its)
                )
            elif path.suffix.lower() == ".npy":
                yield Loose(str(path), _array(np.load(path, allow_pickle=False), str(path)))
            elif audio_rate is not None and path.suffix.lower() not in (".csv", ".tsv", ".txt"):
                raise DataError(f"is no recording ({', '.join(AUDIO_SUFFIXES)})")
            else:
                yield Loose(str(path), _steps(path, column_names(columns.get("channel_columns"))))
        except (DataError, UsageError, OSError, ValueError, EOFError) as error:
            yield Loose(str(path), error=_behind(error, path))


def loose_clips(given: Iterable[Any]) -> Iterator[Loose]:
    """Arrays; paths of folders of frames, of folders with such folders, and of archives, with labels or without."""
    for number, item in enumerate(given):
        if not isinstance(item, str | Path):
            yield Loose(f"clip {number}", np.asarray(item))
            continue
        path = Path(item)
        if path.is_dir() and not is_clip(path):
            inside = sorted(child for child in path.iterdir() if is_clip(child))
            if not inside:
                yield Loose(str(path), error="is a folder without frames, and without folders of frames")
            yield from loose_clips(inside)
            continue
        try:
            if path.is_dir():
                clips = [read_clip(path)]
            elif path.suffix.lower() == ".npz":
                clips = read_archive(path, labelled=False)
            else:
                raise DataError("is no clip: a clip is a folder of frames, or is in an .npz archive")
            for clip in clips:
                name = str(path) if path.is_dir() else f"{path}, {clip.place.partition(', ')[2]}"
                yield Loose(name, clip.frames, clip.problem)
        except DataError as error:
            yield Loose(str(path), error=str(error).removeprefix(f"{path}: "))


def _of_many(path: Path, columns: Mapping[str, str | None]) -> Table | None:
    """The table at a path, where it has the columns that tell sequences apart; else None."""
    group = columns.get("group_column")
    if group is None or path.suffix.lower() not in TABLE_SUFFIXES:
        return None
    table = read_table(path)
    return table if set(column_names(group)) <= set(table.columns) else None


def _behind(error: Exception, path: Path) -> str:
    """What an error says behind the path, which `Loose` has as its name."""
    text = str(error)
    places = (f"{path}: ", f"{path}, ", f"{path} ")
    return next((text.removeprefix(place) for place in places if text.startswith(place)), text)


def _array(values: Any, name: str) -> np.ndarray:
    """As float32 (T, C)."""
    found = np.asarray(values)
    if found.ndim not in (1, 2) or found.dtype.kind not in "fiub":
        raise UsageError(f"{name}: a series is numbers (T, C), and this is {found.dtype} {found.shape}")
    return np.ascontiguousarray(found[:, None] if found.ndim == 1 else found, dtype=np.float32)


def _steps(path: Path, names: Sequence[str] = ()) -> np.ndarray:
    """A file with a step a line, its channels between commas, semicolons or tabs. A header has no number in it: by it
    the channels called `names` are picked; without such names it is passed over."""
    lines = [(number, line) for number, line in enumerate(read_text(path).split("\n"), start=1) if line.strip()]
    separator = max(",;\t", key=lines[0][1].count) if lines else ","
    rows: list[list[float]] = []
    header: list[str] = []
    for number, line in lines:
        cells = line.split(separator)
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError as error:
            if not rows and not any(map(is_number, cells)):
                header = [cell.strip() for cell in cells]
                continue
            raise DataError(f"line {number}: {error}; every step needs a number for each channel") from error
        if len(rows[-1]) != len(rows[0]):
            raise DataError(f"line {number}: has {len(rows[-1])} channels and the first has {len(rows[0])}")
    if not rows:
        raise DataError("the series has no steps")
    values = np.array(rows, dtype=np.float32)
    if not names or not header:
        return values
    if gone := [name for name in names if name not in header]:
        raise DataError(f"there is no column {gone[0]!r}; the network needs {', '.join(names)}")
    if len(header) != len(rows[0]):
        raise DataError(f"its header names {len(header)} columns, and its steps have {len(rows[0])}")
    return values[:, [header.index(name) for name in names]]
