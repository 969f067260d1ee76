"""CSV, TSV and Parquet tables; and those with the path of a file and a label a row."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corinth.data.collect import SPLIT_WORDS, LabelledFile
from corinth.errors import DataError, UsageError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "image_file", "image_name", "img", "img_path"),
)
LABEL_COLUMNS = ("label", "class", "target", "category", "class_name", "label_name", "label_text", "y")
SPLIT_COLUMNS = ("split", "subset", "set", "partition")
LONGEST_CELL = 1 << 30  # characters; the csv module stops at 131,072 by itself


@dataclass(frozen=True)
class Table:
    """Cells as text without the blanks around it, column by column. `lines` are the rows' lines in the file, from 1;
    none of a Parquet file, and without a header none of the first row."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    has_header: bool = True

    def place(self, row: int) -> str:
        """Where a row is, for people."""
        if not self.lines:
            return f"{self.path}, row {row + 1}"
        if not self.has_header:
            return f"{self.path}, line {row + 1 if row == 0 else self.lines[row - 1]}"
        return f"{self.path}, line {self.lines[row]}"


def read_table(path: Path) -> Table:
    """Read a table whole; `DataError` for one that is damaged, `UsageError` where Parquet needs a library."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return Table(path, _parquet(path), [])
    return _csv(path)


def labelled_files(
    table: Table, *, path_column: str | None, label_column: str | None
) -> tuple[list[LabelledFile], list[str]]:
    """Files by their paths, and how the table was read; relative paths start at the table's folder. A column called
    `split` (`subset`, `set`, `partition`), if there, says `train`, `val` or `test` for each row."""
    path, rows = table.path, table.columns
    paths_in = find_column(table, path_column, PATH_COLUMNS, "path")
    labels_in = find_column(table, label_column, LABEL_COLUMNS, "label")
    splits_in = split_column(table, (paths_in, labels_in))
    notes = [f"paths are read from column {paths_in!r} and labels from column {labels_in!r} of {path.name}"]
    if splits_in is not None:
        notes.append(f"splits are read from column {splits_in!r}")
    files = []
    for row in range(len(rows[paths_in])):
        name, label = rows[paths_in][row], rows[labels_in][row]
        place = table.place(row)
        if not name:
            raise DataError(f"{place}: column {paths_in!r} is empty; every row needs the path of a file")
        if not label:
            raise DataError(f"{place}: column {labels_in!r} is empty; every file needs a label")
        split = None if splits_in is None else split_of(rows[splits_in][row], place, splits_in)
        files.append(LabelledFile(full_path(table, name), name.replace(os.sep, "/"), label, split))
    if not files:
        raise DataError(f"{path}: the table has no rows; it needs a path and a label for each file")
    return files, notes


def full_path(table: Table, name: str) -> str:
    """The file that a cell means: relative paths start at the table's folder."""
    return os.path.normpath(os.path.join(table.path.parent, os.path.expanduser(name)))


def find_column(table: Table, asked: str | None, usual: Sequence[str], what: str) -> str:
    """The column that was asked for, or the first that is called as usual."""
    names = list(table.columns)
    if asked is not None:
        if asked not in names:
            raise UsageError(f"{table.path}: {what}_column {asked!r} is not there; the columns are {', '.join(names)}")
        return asked
    for word in usual:
        for name in names:
            if name.strip().lower() == word:
                return name
    raise DataError(
        f"{table.path}: none of the columns {', '.join(names) or '(none)'} looks like the {what} (expected one of "
        f"{', '.join(usual)}); name it with {what}_column"
    )


def split_column(table: Table, taken: Sequence[str]) -> str | None:
    """The column that says which part each row is in, if there is one."""
    found = next((n for word in SPLIT_COLUMNS for n in table.columns if n.strip().lower() == word), None)
    return None if found in taken else found


def split_of(value: str, place: str, column: str) -> str:
    """The part that a cell names."""
    word = SPLIT_WORDS.get(value.strip().lower())
    if word is None:
        raise DataError(f"{place}: column {column!r} says {value!r}; it can say {', '.join(SPLIT_WORDS)}")
    return word


def is_number(cell: str) -> bool:
    """Whether a cell is one, of Python's spelling; infinite ones and NaN are."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _csv(path: Path) -> Table:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a readable UTF-8 table (byte {error.start} is {error.object[error.start]:#04x}); "
            "save it as CSV in UTF-8"
        ) from error
    header, rows = _cells(path, text)
    if is_row(header):
        return _headless(path, header, rows)
    columns: dict[str, list[str]] = {name.strip(): [] for name in header}
    if len(columns) != len(header):
        raise DataError(f"{path}: two columns have the same name; the header is {', '.join(header)}")
    if not columns:
        raise DataError(f"{path}: the file is empty; it needs a header line with the names of its columns")
    lines = _fill(path, columns, rows)
    return Table(path, columns, lines)


def is_row(header: list[str]) -> bool:
    """Whether a first line is no header but a row: numbers alone, one of them a fraction, below 0, or there twice.
    Years and the like may be names."""
    cells = [cell.strip() for cell in header]
    if len(cells) < 2 or not all(map(is_number, cells)):
        return False
    return len(set(cells)) < len(cells) or not all(map(str.isdecimal, cells))


def _headless(path: Path, first: list[str], rows: "Rows") -> Table:
    """A table whose columns are called 1, 2, ..."""
    columns = {str(number): [cell.strip()] for number, cell in enumerate(first, start=1)}
    return Table(path, columns, _fill(path, columns, rows), has_header=False)


def _fill(path: Path, columns: dict[str, list[str]], rows: "Rows") -> list[int]:
    """Put the cells of rows into their columns; returns the rows' lines."""
    lines = []
    for line, row in rows:
        if len(row) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(row)} values for {len(columns)} columns; "
                "quote values that contain the separator"
            )
        lines.append(line)
        for values, value in zip(columns.values(), row, strict=True):
            values.append(value.strip())
    return lines


Rows = list[tuple[int, list[str]]]  # the number of each line, or of the last of several, and its cells


def _cells(path: Path, text: str) -> tuple[list[str], Rows]:
    """The first line that is not empty, and the others.

    In a .tsv quotation marks may be plain characters, as texts have them: they are, where quoted cells would be
    damaged, or would join lines that are whole without.
    """
    first = next((line for line in text.split("\n") if line.strip()), "")
    tabs = path.suffix.lower() == ".tsv" and "\t" in first
    delimiter = "\t" if tabs else max(",;\t", key=first.count)
    quoted = _read(text, delimiter, csv.QUOTE_MINIMAL)
    if tabs:
        plain = _read(text, delimiter, csv.QUOTE_NONE)
        if not isinstance(plain, str) and _is_even(plain):
            whole = not isinstance(quoted, str) and _is_even(quoted) and len(quoted) == len(plain)
            quoted = quoted if whole else plain
    if isinstance(quoted, str):
        raise DataError(f'{path}, {quoted}; quote values whole, with "')
    return quoted[0][1] if quoted else [], quoted[1:]


def _read(text: str, delimiter: str, quoting: Any) -> Rows | str:
    """The rows; or where and why they cannot be read."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, quoting=quoting)
    try:
        return [(reader.line_num, row) for row in reader if any(map(str.strip, row)) or len(row) > 1]
    except csv.Error as error:
        return f"line {reader.line_num}: {error}"


def _is_even(rows: Rows) -> bool:
    return len({len(row) for _, row in rows}) == 1


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
