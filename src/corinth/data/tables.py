"""A CSV, TSV or Parquet table with one image path and one label a row."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from corinth.data.collect import SPLIT_WORDS, Collected, LabelledFile, Progress, collect_files
from corinth.errors import DataError, UsageError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "image_file", "image_name", "img", "img_path"),
)
LABEL_COLUMNS = ("label", "class", "target", "category", "class_name", "label_name", "label_text", "y")
SPLIT_COLUMNS = ("split", "subset", "set", "partition")


def open_table(
    table: Path,
    *,
    path_column: str | None,
    label_column: str | None,
    max_corrupt: float,
    progress: Progress | None = None,
) -> Collected:
    """Relative paths start at the table's folder. A column called `split` (`subset`, `set`, `partition`), if there,
    says `train`, `val` or `test` for each row."""
    if table.suffix.lower() in (".parquet", ".pq"):
        rows = _parquet(table)
    else:
        rows = _csv(table)
    names = list(rows)
    paths_in = _column(table, names, path_column, PATH_COLUMNS, "path")
    labels_in = _column(table, names, label_column, LABEL_COLUMNS, "label")
    splits_in = next((n for word in SPLIT_COLUMNS for n in names if n.strip().lower() == word), None)
    notes = [f"paths are read from column {paths_in!r} and labels from column {labels_in!r} of {table.name}"]
    if splits_in is not None and splits_in not in (paths_in, labels_in):
        notes.append(f"splits are read from column {splits_in!r}")
    else:
        splits_in = None
    files = []
    for row in range(len(rows[paths_in])):
        path, label = rows[paths_in][row], rows[labels_in][row]
        place = f"{table}, row {row + 1} after the header"
        if not path:
            raise DataError(f"{place}: column {paths_in!r} is empty; every row needs the path of an image")
        if not label:
            raise DataError(f"{place}: column {labels_in!r} is empty; every image needs a label")
        split = None if splits_in is None else _split(rows[splits_in][row], place, splits_in)
        full = os.path.normpath(os.path.join(table.parent, os.path.expanduser(path)))
        files.append(LabelledFile(full, path.replace(os.sep, "/"), label, split))
    if not files:
        raise DataError(f"{table}: the table has no rows; it needs a path and a label for each image")
    found = collect_files(files, where=str(table), max_corrupt=max_corrupt, progress=progress)
    found.notes[:0] = notes
    return found


def _column(table: Path, names: Sequence[str], asked: str | None, usual: Sequence[str], what: str) -> str:
    if asked is not None:
        if asked not in names:
            raise UsageError(f"{table}: {what}_column {asked!r} is not there; the columns are {', '.join(names)}")
        return asked
    for word in usual:
        for name in names:
            if name.strip().lower() == word:
                return name
    raise DataError(
        f"{table}: none of the columns {', '.join(names) or '(none)'} looks like the {what} (expected one of "
        f"{', '.join(usual)}); name it with {what}_column"
    )


def _split(value: str, place: str, column: str) -> str:
    word = SPLIT_WORDS.get(value.strip().lower())
    if word is None:
        raise DataError(f"{place}: column {column!r} says {value!r}; it can say {', '.join(SPLIT_WORDS)}")
    return word


def _csv(table: Path) -> dict[str, list[str]]:
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = next(reader, [])
            columns: dict[str, list[str]] = {name.strip(): [] for name in header}
            if len(columns) != len(header):
                raise DataError(f"{table}: two columns have the same name; the header is {', '.join(header)}")
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"{table}, line {reader.line_num}: {len(row)} values for {len(header)} columns; "
                        "quote values that contain the separator"
                    )
                for values, value in zip(columns.values(), row, strict=True):
                    values.append(value.strip())
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a readable UTF-8 table ({error}); save it as CSV in UTF-8") from error
    if not columns:
        raise DataError(f"{table}: the file is empty; it needs a header line with a path and a label column")
    return columns


def _parquet(table: Path) -> dict[str, list[str]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            f"{table}: reading Parquet needs pyarrow, which is not installed; run: pip install 'corinth[tables]'"
        ) from error
    try:
        content = pyarrow.parquet.read_table(table)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{table}: not a readable Parquet file ({str(error).splitlines()[0]})") from error
    flat = [f.name for f in content.schema if not pyarrow.types.is_nested(f.type) and not _is_binary(f.type)]
    return {
        name: ["" if value is None else str(value).strip() for value in content.column(name).to_pylist()]
        for name in flat
    }


def _is_binary(kind) -> bool:
    import pyarrow

    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)
