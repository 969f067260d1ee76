"""Recordings with a transcript each: a table of paths and of what is said in them."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corinth.data.collect import Collected, Progress, check_left, check_names, check_usable, ordered
from corinth.data.sequences.audio import is_audio_file, read_recordings
from corinth.data.sequences.files import declared_parts
from corinth.data.sequences.source import SPACE, TRANSCRIPTION, TranscriptSource
from corinth.data.tables import LABEL_COLUMNS, PATH_COLUMNS, Table, find_column, full_path, split_column, split_of
from corinth.errors import DataError, UsageError

TRANSCRIPT_COLUMNS = ("transcript", "transcription", "text", "sentence", "words", "utterance")
UNITS = ("words", "characters")


@dataclass(frozen=True)
class Transcribed:
    """A recording and its transcript, as the table has them."""

    path: str
    key: str
    labels: list[str]
    split: str | None


def have_transcripts(table: Table, path_column: str | None, text_column: str | None, label_column: str | None) -> bool:
    """Whether a table is one of recordings with transcripts: it has both, and no labels unless both were asked for."""
    names = {name.strip().lower(): name for name in table.columns}
    paths = path_column or next((names[word] for word in PATH_COLUMNS if word in names), None)
    has_text = text_column is not None or bool({*TRANSCRIPT_COLUMNS} & {*names})
    both_asked = text_column is not None and path_column is not None
    labelled = label_column is not None or (bool({*LABEL_COLUMNS} & {*names}) and not both_asked)
    if paths not in table.columns or not has_text or labelled:
        return False
    return any(is_audio_file(cell) for cell in table.columns[paths])


def open_transcripts(
    table: Table,
    *,
    path_column: str | None,
    text_column: str | None,
    units: str,
    max_corrupt: float,
    audio_rate: int | None,
    progress: Progress | None,
) -> Collected:
    """All recordings of a table. Those without a word, or with more labels than steps can carry, cannot be used."""
    if units not in UNITS:
        raise UsageError(f"transcript_units {units!r} is none of {', '.join(UNITS)}")
    where = str(table.path)
    rows, notes = _rows(table, path_column, text_column, units)
    if not rows:
        raise DataError(f"{where}: the table has no rows; it needs a path and a transcript for each recording")
    read = read_recordings([row.path for row in rows], where, max_corrupt, audio_rate, progress)
    corrupt = list(read.corrupt)
    good: list[int] = []  # places in what was read
    for place, (number, series) in enumerate(zip(read.good, read.series, strict=True)):
        reason = _unusable(rows[number].labels, len(series))
        if reason is None:
            good.append(place)
        else:
            corrupt.append((rows[number].path, reason))
    check_usable(corrupt, len(rows), max_corrupt, where, "recording")
    kept = [rows[read.good[place]] for place in good]
    names = ordered({label for row in kept for label in row.labels})
    check_names(names, where)
    check_left(names, {label for row in rows for label in row.labels}, where)
    number_of = {name: i for i, name in enumerate(names)}
    source = TranscriptSource(
        series=tuple(read.series[place] for place in good),
        places=tuple(row.key for row in kept),
        transcripts=tuple(np.array([number_of[label] for label in row.labels], dtype=np.int64) for row in kept),
        classes=tuple(names),
        units="words" if units == "words" else "characters",
        audio_rate=read.rate,
        digests=tuple(read.digests[place] for place in good),
    )
    declared = declared_parts([row.split for row in kept])
    return Collected(source, declared, corrupt, notes + read.notes, TRANSCRIPTION)


def labels_of(text: str, units: str) -> list[str]:
    """The labels of a transcript: its words, or its characters with one `SPACE` between words."""
    words = text.split()
    return words if units == "words" else list(SPACE.join(words))


def needed_steps(labels: Sequence[str] | Sequence[int]) -> int:
    """The fewest steps in which labels can be told apart: one for each, and a blank between equal ones."""
    return len(labels) + sum(a == b for a, b in itertools.pairwise(labels))


def _rows(
    table: Table, path_column: str | None, text_column: str | None, units: str
) -> tuple[list[Transcribed], list[str]]:
    paths_in = find_column(table, path_column, PATH_COLUMNS, "path")
    texts_in = find_column(table, text_column, TRANSCRIPT_COLUMNS, "text")
    splits_in = split_column(table, (paths_in, texts_in))
    notes = [
        f"paths are read from column {paths_in!r} and transcripts from column {texts_in!r} of {table.path.name}; "
        f"labels are their {units}"
    ]
    if splits_in is not None:
        notes.append(f"splits are read from column {splits_in!r}")
    rows = []
    for row, name in enumerate(table.columns[paths_in]):
        place = table.place(row)
        if not name:
            raise DataError(f"{place}: column {paths_in!r} is empty; every row needs the path of a recording")
        split = None if splits_in is None else split_of(table.columns[splits_in][row], place, splits_in)
        labels = labels_of(table.columns[texts_in][row], units)
        rows.append(Transcribed(full_path(table, name), name.replace(os.sep, "/"), labels, split))
    return rows, notes


def _unusable(labels: list[str], steps: int) -> str | None:
    if not labels:
        return "the transcript is empty"
    if steps < (needed := needed_steps(labels)):
        return f"has {steps} steps, and its transcript of {len(labels)} labels needs {needed}"
    return None
