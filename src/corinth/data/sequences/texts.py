"""Texts with a label each: from a table, from several tables that are the parts, or from a folder for each class."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corinth.data.collect import SPLIT_WORDS, Collected, check_left, check_names, check_usable, ordered
from corinth.data.decode import is_image_file
from corinth.data.sequences.audio import is_audio_file
from corinth.data.sequences.files import class_files, declared_parts, read_text
from corinth.data.sequences.source import CLASSIFICATION, TextSource
from corinth.data.tables import (
    LABEL_COLUMNS,
    PATH_COLUMNS,
    TABLE_SUFFIXES,
    Table,
    find_column,
    split_column,
    split_of,
)
from corinth.errors import DataError, UsageError

TEXT_SUFFIXES = (".txt",)
TEXT_COLUMNS = ("text", "sentence", "review", "content", "document", "body", "message", "comment", "tweet", "utterance")


@dataclass(frozen=True)
class LabelledText:
    text: str
    place: str
    label: str
    split: str | None = None


def have_texts(tables: Sequence[Table], text_column: str | None) -> bool:
    """Whether tables hold texts, and not the paths of images."""
    if text_column is not None:
        return True
    headers = [[name.lower() for name in table.columns] for table in with_header(tables)]
    return all({*TEXT_COLUMNS} & {*names} and not {*PATH_COLUMNS} & {*names} for names in headers)


def open_text_tables(
    tables: Sequence[tuple[Table, str | None]], *, text_column: str | None, label_column: str | None, max_corrupt: float
) -> Collected:
    """Tables with the part that each is, or None where a column called `split` may say it."""
    texts: list[LabelledText] = []
    notes: list[str] = []
    files: dict[str, list[str]] = {}  # how files are read -> their names
    headed = with_header([table for table, _ in tables]) if text_column is None and label_column is None else None
    for number, (table, part) in enumerate(tables):
        table = table if headed is None else headed[number]
        text_in = find_column(table, text_column, TEXT_COLUMNS, "text")
        label_in = find_column(table, label_column, LABEL_COLUMNS, "label")
        split_in = split_column(table, (text_in, label_in)) if part is None else None
        columns = f"texts are read from column {text_in!r} and labels from column {label_in!r} of"
        if not table.has_header:
            columns = "there is no header: texts are read from the first column and labels from the second of"
        files.setdefault(columns, []).append(table.path.name)
        if split_in is not None:
            notes.append(f"splits are read from column {split_in!r}")
        labels = table.columns[label_in]
        for row, text in enumerate(table.columns[text_in]):
            place = table.place(row)
            if not labels[row]:
                raise DataError(f"{place}: column {label_in!r} is empty; every text needs a label")
            split = part if split_in is None else split_of(table.columns[split_in][row], place, split_in)
            texts.append(LabelledText(text, place, labels[row], split))
    notes[:0] = [f"{how} {', '.join(names)}" for how, names in files.items()]
    where = str(tables[0][0].path.parent if len(tables) > 1 else tables[0][0].path)
    if not texts:
        raise DataError(f"{where}: the table has no rows; it needs a text and a label in each")
    return _collected(texts, notes, where, max_corrupt)


def with_header(tables: Sequence[Table]) -> list[Table]:
    """The tables; where the first line of one is a text and one of the labels already, with names for its columns."""
    labels = {label for table in tables if len(table.columns) == 2 for label in list(table.columns.values())[1]}
    return [_named(table, labels) for table in tables]


def _named(table: Table, labels: set[str]) -> Table:
    names = list(table.columns)
    known = any(name.lower() in (*TEXT_COLUMNS, *LABEL_COLUMNS, *PATH_COLUMNS) for name in names)
    if len(names) != 2 or known or names[1] not in labels or is_image_file(names[0]) or is_audio_file(names[0]):
        return table
    (first, texts), (label, own) = table.columns.items()
    return Table(table.path, {"text": [first, *texts], "label": [label, *own]}, table.lines, has_header=False)


def parts_of(folder: Path) -> list[tuple[Path, str]]:
    """The tables of a folder that are called as parts are: train.tsv, dev.tsv, test.tsv."""
    if not folder.is_dir():
        return []
    tables = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in TABLE_SUFFIXES)
    named = [(path, SPLIT_WORDS.get(path.stem.lower())) for path in tables]
    found = [(path, part) for path, part in named if part is not None]
    twice = next(((a, b) for i, a in enumerate(found) for b in found[:i] if a[1] == b[1]), None)
    if twice is not None:
        raise UsageError(f"{twice[1][0]} and {twice[0][0].name} are both the {twice[0][1]} part; keep one of them")
    return found


def count_texts(folder: Path) -> int:
    """How many .txt files lie in folders that are classes, in the folder itself or in its parts."""
    return sum(1 for _ in class_files(folder, TEXT_SUFFIXES))


def open_text_folder(folder: Path, *, max_corrupt: float) -> Collected:
    """Each .txt file of a class's folder is one text."""
    found = class_files(folder, TEXT_SUFFIXES)
    texts = [LabelledText(read_text(file).strip(), str(file), label, part) for file, label, part in found]
    return _collected(texts, [], str(folder), max_corrupt)


def _collected(texts: Sequence[LabelledText], notes: list[str], where: str, max_corrupt: float) -> Collected:
    good = [entry for entry in texts if entry.text]
    empty = [(entry.place, "the text is empty") for entry in texts if not entry.text]
    check_usable(empty, len(texts), max_corrupt, where, "text")
    names = ordered({entry.label for entry in good})
    check_names(names, where)
    if not good:
        raise DataError(f"{where}: there are no texts")
    check_left(names, {entry.label for entry in texts}, where)
    number = {name: i for i, name in enumerate(names)}
    source = TextSource(
        texts=tuple(entry.text for entry in good),
        places=tuple(_short(entry.place, where) for entry in good),
        labels=np.array([number[entry.label] for entry in good], dtype=np.int64),
        classes=tuple(names),
    )
    return Collected(source, declared_parts([entry.split for entry in good]), empty, notes, CLASSIFICATION)


def _short(place: str, where: str) -> str:
    """A place without the folder that all of them share."""
    return place.removeprefix(where + os.sep)
