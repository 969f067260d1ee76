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
from corinth.data.sequences.source import MeasuredSource
from corinth.predictor import Translator, load_run
from corinth.report import figures, page, values
from corinth.report.formats import number, percent
from corinth.report.language import LEGEND, Written, written
from corinth.report.machine import machine_lines
from corinth.report.pictures import Mistake, hardest, mistakes
from corinth.report.translations import Together, typical
from corinth.tasks.kinds import Kind
from corinth.training.run import METRICS, read_metrics

REPORT = "report.html"
TOGETHER = 4  # of the hardest sentences, and as many in the middle, that are shown by each network
SAMPLED_AT = 0.8  # the temperature of texts that language models write


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
    note = page.write(path, "compare.html", _context(board, data, folder), _charts(board, data, folder))
    return path, note


def _context(board: Leaderboard, data: DataSet, folder: Path) -> dict[str, Any]:
    finished = _finished(board)
    tested, by_class = len(data.positions("test")), board.kind.classification
    lead = (
        f"{len(board.rows)} architectures, {len(board.seeds)} seed{'s' if len(board.seeds) > 1 else ''} each, a budget "
        f"of {board.budget} for every run; scored once on {tested:,} test {plural(data.source.unit)}"
        f"{f' in {data.num_classes} classes' if board.kind.classification else ''}."
    )
    recipes = json.loads((folder / FILE).read_text(encoding="utf-8"))["plan"]["recipes"]
    return {
        "board": board,
        "lead": lead,
        "one_seed": max(len(row.scores) for row in board.rows) == 1,
        "axis": _axis(finished, board.kind),
        "costed": [row for row in finished if row.cost is not None],
        "batch": next((row.cost.batch for row in finished if row.cost and row.cost.batch), None),
        "latency_text": _latency_text(board),
        "mistakes": [(row.label, _mistakes(row, data, folder)) for row in finished] if by_class else [],
        "answers": [] if by_class else [(row.label, _answers(row, data, folder)) for row in finished],
        "together": _together(finished, data, folder) if board.kind.name == "translation" else [],
        "written": _written(finished, folder) if board.task == "language-modeling" else [],
        "legend": LEGEND,
        "recipes": [(label, recipe["arch"], _as_text(recipe)) for label, recipe in recipes.items()],
        "setting": _setting(board),
        "machine": board.machine,
        "unit": data.source.unit,
        "several": plural(data.source.unit),
    }


def _charts(board: Leaderboard, data: DataSet, folder: Path) -> dict[str, Any]:
    finished = _finished(board)
    charts: dict[str, Any] = {}
    against = {
        "against_params": _against(finished, board.kind, lambda cost: cost.params, "parameters"),
        "against_latency": _against(
            finished, board.kind, lambda cost: cost.latency_ms, f"latency of one {board.kind.unit}, ms", unit=" ms"
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
    if isinstance(data.source, MeasuredSource):
        found = {row.label: _values(row, folder) for row in finished}
        charts["values"] = figures.choices(
            {label: values.scatter(its, data.source, series=i) for i, (label, its) in enumerate(found.items())}
        )
        if orders := values.orders(found, data.source, data.positions("train")):
            charts["orders"] = figures.choices(orders)
    if data.num_classes <= figures.MOST_CLASSES and kind.classification:
        charts["confusion"] = figures.choices(
            {row.label: figures.confusion(_confusion(row, data, folder), data.classes) for row in finished}
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


def _confusion(row: Row, data: DataSet, folder: Path) -> np.ndarray:
    """Counts (true, predicted), summed over seeds."""
    counts = np.zeros((data.num_classes, data.num_classes), dtype=np.int64)
    for seed in row.scores:
        found = jobs.answers(folder, row.label, seed)
        np.add.at(counts, found.labels, 1)
    return counts


def _values(row: Row, folder: Path) -> values.Values:
    """What every seed predicted."""
    found = [jobs.answers(folder, row.label, seed) for seed in row.scores]
    first, predicted = found[0], [answers.value for answers in found if answers.value is not None]
    assert first.target is not None
    return values.Values(first.index, first.target, np.stack(predicted))


def _mistakes(row: Row, data: DataSet, folder: Path) -> list[Mistake]:
    found = [jobs.answers(folder, row.label, seed) for seed in row.scores]
    probs = np.stack([answers.probs for answers in found if answers.probs is not None])
    return mistakes(data, found[0].index, found[0].labels[0], probs, data.classes)


def _answers(row: Row, data: DataSet, folder: Path) -> list[Any]:
    """The test samples that the seeds do worst on, as the first seed answers for them."""
    found = [jobs.answers(folder, row.label, seed) for seed in row.scores]
    predictor = load_run(jobs.run_folder(folder, row.label, next(iter(row.scores))))
    scores = np.mean([answers.score for answers in found], axis=0)
    return hardest(predictor, data, found[0].index, scores, most=6)


def _together(rows: list[Row], data: DataSet, folder: Path) -> list[Together]:
    """The same sentences as each network translates them: the hardest of all, and some in the middle."""
    found = {row.label: jobs.answers(folder, row.label, next(iter(row.scores))) for row in rows}
    index = next(iter(found.values())).index
    mean = np.mean([answers.score for answers in found.values()], axis=0)
    first = {data.source.texts[position]: place for place, position in reversed(list(enumerate(index.tolist())))}
    places = np.array(sorted(first.values()))  # of sentences that are alike, one
    mean = mean[places]
    places = places[[*np.argsort(mean, kind="stable")[:TOGETHER], *typical(mean, TOGETHER)]]
    networks = {row.label: load_run(jobs.run_folder(folder, row.label, next(iter(row.scores)))) for row in rows}
    texts = [data.source.texts[int(index[place])] for place in places]
    said: dict[str, Any] = {}
    for label, network in networks.items():
        assert isinstance(network, Translator)
        said[label] = network.predict(texts)
    return [
        Together(
            name=data.source.name(int(index[place])),
            source=text,
            reference=data.source.translations[int(index[place])],
            answers=tuple((label, said[label][i].translation, float(found[label].score[place])) for label in said),
        )
        for i, (place, text) in enumerate(zip(places, texts))
    ]


def _written(rows: list[Row], folder: Path) -> list[tuple[Row, Written]]:
    """A text that the first seed of each architecture writes."""
    predictors = [load_run(jobs.run_folder(folder, row.label, next(iter(row.scores)))) for row in rows]
    return [(row, written(predictor, (SAMPLED_AT,))[0]) for row, predictor in zip(rows, predictors)]


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
        f"{timed} Multiply-adds are those of convolutions and matrix products, for one {board.kind.unit}. Training "
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
