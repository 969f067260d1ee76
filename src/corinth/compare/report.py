"""report.html of a comparison: one file that says who won, how sure that is, at what cost, and where each one fails."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from corinth.compare import jobs
from corinth.compare.leaderboard import Cost, Leaderboard, Row
from corinth.compare.plan import FILE
from corinth.data.collect import plural
from corinth.data.dataset import DataSet
from corinth.data.sequences.forecast import ForecastSource
from corinth.predictor import load_run
from corinth.report import figures, page
from corinth.report.formats import number, percent
from corinth.report.look import NEUTRAL, Entrant, Extra
from corinth.report.looks import LOOKS, hardest
from corinth.report.machine import machine_lines
from corinth.tasks.kinds import Kind
from corinth.training.run import METRICS, read_metrics

REPORT = "report.html"


@dataclasses.dataclass(frozen=True)
class Axis:
    """Where a score lies in the table's small interval drawings, 150 wide."""

    low: float
    high: float
    kind: Kind

    @property
    def ends(self) -> str:
        if not self.kind.share:
            return f"{number(self.low, 3)} to {number(self.high, 3)}"
        digits = 0 if self.high - self.low >= 0.05 else 1
        return f"{percent(self.low, digits)} to {percent(self.high, digits)}"

    def x(self, score: float) -> float:
        return round(5 + 140 * (score - self.low) / (self.high - self.low), 1)


def write_report(board: Leaderboard, data: DataSet, folder: Path) -> tuple[Path, str | None]:
    """Write report.html; returns its path, and a sentence if the charts had to be left out."""
    path = folder / REPORT
    entrants = [_entrant(row, folder) for row in _finished(board)]
    extra = LOOKS[board.task].of_comparison(entrants, data)
    context = _context(board, data, folder, entrants, extra)
    return path, page.write(path, "compare.html", context, {**_charts(board, data, folder), **extra.charts})


def _context(board: Leaderboard, data: DataSet, folder: Path, entrants: list[Entrant], extra: Extra) -> dict[str, Any]:
    finished, look = _finished(board), LOOKS[board.task]
    lead = (
        f"{len(board.rows)} architectures, {len(board.seeds)} seed{'s' if len(board.seeds) > 1 else ''} each, a budget "
        f"of {board.budget} for every run; scored once on {_scored_on(data)}"
        f"{f' in {data.num_classes} classes' if board.kind.classification else ''}."
    )
    recipes = json.loads((folder / FILE).read_text(encoding="utf-8"))["plan"]["recipes"]
    return {
        **NEUTRAL,
        "board": board,
        "lead": lead,
        "one_seed": max(len(row.scores) for row in board.rows) == 1,
        "axis": _axis(finished, board.kind),
        "costed": [row for row in finished if row.cost is not None],
        "batch": next((row.cost.batch for row in finished if row.cost and row.cost.batch), None),
        "latency_text": _latency_text(board),
        "hint": look.hint,
        "answers": [(entrant.label, _answers(entrant, data)) for entrant in entrants] if look.shown is not None else [],
        "recipes": [(label, recipe["arch"], _as_text(recipe)) for label, recipe in recipes.items()],
        "setting": _setting(board),
        "machine": board.machine,
        "unit": data.source.unit,
        "several": plural(data.source.unit),
        **extra.context,
    }


def _scored_on(data: DataSet) -> str:
    """How many samples the scores are of, which of windows to forecast are only some."""
    tested = data.positions("test")
    if not isinstance(data.source, ForecastSource):
        return f"{len(tested):,} test {plural(data.source.unit)}"
    return f"{len(data.source.apart(tested)):,} test windows that have no step in common ({len(tested):,} in all)"


def _charts(board: Leaderboard, data: DataSet, folder: Path) -> dict[str, Any]:
    finished = _finished(board)
    charts: dict[str, Any] = {}
    against = {
        "against_params": _against(finished, board.kind, lambda cost: cost.params, "parameters"),
        "against_latency": _against(
            finished, board.kind, lambda cost: cost.latency_ms, f"latency of one {data.source.unit}, ms", unit=" ms"
        ),
    }
    charts |= {name: chart for name, chart in against.items() if chart is not None}
    histories = {
        row.label: [read_metrics(jobs.run_folder(folder, row.label, seed) / METRICS) for seed in row.scores]
        for row in finished
    }
    by = {
        "by samples seen": ("samples", "samples seen"),
        "by seconds": ("seconds", "seconds"),
        "by epoch": ("epoch", "epoch"),
    }
    kind, validation = board.kind, f"validation {board.kind.metric_name}"
    if data.scorable("val"):
        charts["curves"] = figures.choices(
            {
                choice: figures.curves(
                    histories, kind=kind, x=key, y=f"val_{kind.metric}", x_title=title, y_title=validation
                )
                for choice, (key, title) in by.items()
            }
        )
    return charts


def _against(rows: list[Row], kind: Kind, cost_of: Callable[[Cost], float | None], title: str, unit: str = "") -> Any:
    """Score against one cost, of the rows that have both; None where no row has."""
    drawn = [(row.label, row.test, cost_of(row.cost)) for row in rows if row.test is not None and row.cost is not None]
    known = [(name, (test.mean, test.low, test.high), cost) for name, test, cost in drawn if cost is not None]
    if not known:
        return None
    names, scores, costs = zip(*known, strict=True)
    return figures.choices({title: figures.score_against(names, costs, scores, kind=kind, title=title, unit=unit)})


def _entrant(row: Row, folder: Path) -> Entrant:
    assert row.score_test is not None  # it has finished
    return Entrant(
        label=row.label,
        score=row.score_test,
        answers=lambda: [jobs.answers(folder, row.label, seed) for seed in row.scores],
        network=lambda: load_run(jobs.run_folder(folder, row.label, next(iter(row.scores)))),
    )


def _answers(entrant: Entrant, data: DataSet) -> list[Any]:
    """The test samples that the seeds do worst on, as the first seed answers for them."""
    found = entrant.answers()
    scores = np.mean([answers.score for answers in found], axis=0)
    return hardest(entrant.network(), data, found[0].index, scores, most=6)


def _finished(board: Leaderboard) -> list[Row]:
    return [row for row in board.rows if row.test is not None]


def _axis(rows: list[Row], kind: Kind) -> Axis:
    """From the lowest to the highest end of an interval, of shares on round numbers."""
    intervals = [row.test for row in rows if row.test is not None]
    low, high = min(i.low for i in intervals), max(i.high for i in intervals)
    if not kind.share:
        return Axis(low, high if high > low else low + 1, kind)
    step = 0.1 if high - low > 0.4 else 0.05 if high - low > 0.1 else 0.01
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(max(low, 0.0), min(max(high, low + step), 1.0), kind)


def _latency_text(board: Leaderboard) -> str:
    timed = "Latency was not measured."
    if board.latency_basis:
        timed = f"Latency is the median time of one forward pass after all training was done, on {board.latency_basis}."
    return (
        f"{timed} Multiply-adds are those of convolutions and matrix products, for one {board.data['unit']}. Training "
        "time and memory are means and maxima over seeds."
    )


def _setting(board: Leaderboard) -> list[tuple[str, str]]:
    data = board.data
    per_class, several = data["samples_per_class"], plural(data["unit"])
    samples = f"{data['samples']:,} {several}"
    if board.kind.classes:
        samples += f", {len(data['classes'])} classes"
    if per_class is not None:
        low, high = min(per_class), max(per_class)
        samples += f" with {low:,} to {high:,} each" if low < high else f" with {low:,} each"
    return [
        ("Data", f"{data['name']} ({data['spec']}), fingerprint {data['fingerprint'][:12]}"),
        (several.capitalize(), f"{samples}; {data['description']}"),
        ("Parts", ", ".join(f"{name} {count:,}" for name, count in data["splits"].items())),
        *(("Note", text) for text in data["notes"]),
        ("Budget", f"{board.budget} for each run"),
        ("Seeds", ", ".join(map(str, board.seeds))),
        *machine_lines(dict(board.machine)),
    ]


def _as_text(recipe: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in recipe.items())
