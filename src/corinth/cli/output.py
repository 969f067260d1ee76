"""What a verb prints: tables that are framed on a terminal and plain in a pipe, JSON, files."""

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corinth.files import write_text

Cell = str | int | float | None


def print_table(columns: Mapping[str, str], rows: Sequence[Sequence[Cell]], *, title: str | None = None) -> None:
    """`columns` maps a heading to "left" or "right".

    In a pipe, and on a terminal too narrow for a frame: aligned text, nothing cut, no colours. In a frame only cells
    that lean left are broken into lines; names and numbers stay whole.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.measure import Measurement
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left")
        for name, justify in columns.items():
            right = justify == "right"
            table.add_column(name, justify="right" if right else "left", no_wrap=right or name in ("name", "layer"))
        for row in cells:
            table.add_row(*map(Text, row))
        console = Console()
        if Measurement.get(console, console.options.update(max_width=10_000), table).minimum <= console.width:
            console.print(table)
            return
    if title:
        print(title)
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        padded = (
            cell.rjust(width) if justify == "right" else cell.ljust(width)
            for cell, width, justify in zip(row, widths, columns.values())
        )
        print("  ".join(padded).rstrip())


def print_facts(facts: Mapping[str, Cell]) -> None:
    """One `name  value` line each; what is None is left out."""
    shown = {name: value for name, value in facts.items() if value is not None}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        print(f"{name:<{width}}  {value}")


def to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()


def deliver(text: str, output: Path | None) -> None:
    """To stdout, or whole into a file."""
    text = text.rstrip("\n") + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text)
        print(f"wrote {output}", file=sys.stderr)


def note(sentence: str) -> None:
    """Something worth knowing that is not the result: stderr."""
    print(sentence, file=sys.stderr)


def quantity(number: float | None) -> str:
    """61706 as 61.7 k."""
    if number is None:
        return ""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.4g} {unit}"
    return f"{number:.4g}"


def size_of(shape: Sequence[int] | None) -> str:
    """(3, 224, 224) as 3x224x224."""
    return "" if shape is None else "x".join(map(str, shape))


def megabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:,.0f} MiB"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
