"""Pictures with captions: a table of paths and of what is to be seen there, several rows a picture for several."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from corinth.data.collect import Collected, LabelledFile, Progress, check_usable, collect_files
from corinth.data.decode import is_image_file
from corinth.data.sequences.files import declared_parts
from corinth.data.source import FileSource
from corinth.data.tables import LABEL_COLUMNS, PATH_COLUMNS, Table, find_column, full_path, split_column, split_of
from corinth.errors import DataError

CAPTIONING = "captioning"
CAPTION_COLUMNS = ("caption", "captions", "description", "alt_text", "title", "text", "sentence", "comment", "name")
_FOR_CAPTIONS = CAPTION_COLUMNS[:4]  # columns called so are captions and nothing else


@dataclass(frozen=True)
class CaptionSource(FileSource):
    """Picture files, each with at least one caption; `classes` are none and `labels` all 0."""

    captions: tuple[tuple[str, ...], ...]
    unit: ClassVar[str] = "picture"

    def target(self, i: int) -> Any:
        return self.captions[i]

    def fingerprint_bytes(self) -> Iterable[bytes]:
        for captions in self.captions:
            yield "\0".join(captions).encode() + b"\n"

    def amounts(self) -> np.ndarray:
        """int64 (N, 0): there are no classes to have."""
        return np.zeros((len(self), 0), dtype=np.int64)

    def onto(self, classes: Sequence[str], where: str) -> "CaptionSource":
        return self

    def captions_at(self, rows: np.ndarray) -> list[str]:
        """All captions of the pictures at some positions."""
        return [caption for row in rows for caption in self.captions[row]]

    def pictures(self) -> FileSource:
        """The pictures alone, as images of one class."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(FileSource)}
        values["classes"] = ("picture",)
        return FileSource(**values)


def have_captions(table: Table, columns: Mapping[str, str | None], task: str | None) -> bool:
    """Whether a table is one of pictures with captions.

    It has paths of images and a column called as captions are, and no labels; with labels, or a column that could be
    other texts, both columns or the task were asked for.
    """
    names = {name.strip().lower(): name for name in table.columns}
    captions = bool({*_FOR_CAPTIONS} & {*names})
    if columns["path_column"] is not None or (task == CAPTIONING and captions):
        find_column(table, columns["path_column"], PATH_COLUMNS, "path")  # or says that it is not there
    paths = columns["path_column"] or next((names[word] for word in PATH_COLUMNS if word in names), None)
    if paths is None:
        return False
    if task == CAPTIONING and not table.columns[paths]:
        return True  # which says that there are none
    labelled = columns["label_column"] is not None or bool({*LABEL_COLUMNS} & {*names})
    called = not labelled and captions
    if not any(map(is_image_file, table.columns[paths])):
        if table.columns[paths] and (task == CAPTIONING or called):
            raise DataError(
                f"{table.path}: column {paths!r} has no path of an image, but {table.columns[paths][0]!r} and such; "
                "captions are of image files, whose names end in .png, .jpg, ..."
            )
        return False
    asked = columns["path_column"] is not None and columns["text_column"] is not None
    return asked or task == CAPTIONING or called or (not labelled and columns["text_column"] is not None)


@dataclass
class _Picture:
    """What the rows of one picture say."""

    file: LabelledFile
    captions: list[str]


def open_captions(
    table: Table, columns: Mapping[str, str | None], *, max_corrupt: float, progress: Progress | None
) -> Collected:
    """All pictures of a table. One that cannot be read, or that has no caption, is left out."""
    where = str(table.path)
    found, notes = _pictures(table, columns)
    wordless = [(picture.file.path, "the caption is empty") for picture in found.values() if not picture.captions]
    check_usable(wordless, len(found), max_corrupt, where, "picture")
    told = {key: picture for key, picture in found.items() if picture.captions}
    read = collect_files(
        [picture.file for picture in told.values()], where=where, max_corrupt=max_corrupt, progress=progress
    )
    check_usable([*wordless, *read.corrupt], len(found), max_corrupt, where, "picture")
    captions = tuple(tuple(told[path].captions) for path in read.source.paths)
    parts: dict[str, Any] = {f.name: getattr(read.source, f.name) for f in fields(FileSource)}
    parts |= {"classes": (), "captions": captions}
    source = CaptionSource(**parts)
    declared = declared_parts([told[path].file.split for path in read.source.paths])
    count = sum(map(len, captions))
    if count > len(captions):
        notes.append(f"{len(captions):,} pictures have {count:,} captions; those of a picture stay in one part")
    return Collected(source, declared, [*wordless, *read.corrupt], notes, CAPTIONING)


def _pictures(table: Table, columns: Mapping[str, str | None]) -> tuple[dict[str, _Picture], list[str]]:
    """By path, in the order of the table."""
    paths_in = find_column(table, columns["path_column"], PATH_COLUMNS, "path")
    texts_in = find_column(table, columns["text_column"], CAPTION_COLUMNS, "text")
    splits_in = split_column(table, (paths_in, texts_in))
    notes = [f"paths are read from column {paths_in!r} and captions from column {texts_in!r} of {table.path.name}"]
    if splits_in is not None:
        notes.append(f"splits are read from column {splits_in!r}")
    found: dict[str, _Picture] = {}
    empty = 0
    for row, (name, caption) in enumerate(zip(table.columns[paths_in], table.columns[texts_in], strict=True)):
        place = table.place(row)
        if not name:
            raise DataError(f"{place}: column {paths_in!r} is empty; every row needs the path of a picture")
        split = None if splits_in is None else split_of(table.columns[splits_in][row], place, splits_in)
        path = full_path(table, name)
        file = LabelledFile(path, name.replace(os.sep, "/"), "picture", split)
        picture = found.setdefault(path, _Picture(file, []))
        if picture.file.split != split:
            raise DataError(
                f"{place}: {name} is in the {split} part here and in the {picture.file.split} part above; a picture is "
                "in one part with all of its captions"
            )
        if caption and caption not in picture.captions:
            picture.captions.append(caption)
        empty += not caption
    if not found:
        raise DataError(f"{table.path}: the table has no rows; it needs a path and a caption for each picture")
    if empty:
        notes.append(f"{empty} of {len(table.columns[paths_in])} captions are empty and are left out")
    return found, notes
