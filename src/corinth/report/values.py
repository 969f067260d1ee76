"""Predicted numbers inside a page: with their series or rows, in charts against the measured ones, and over the order
that sequences have in their groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corinth.data.collect import plural
from corinth.data.rows.source import MeasuredRows
from corinth.data.sequences.source import MeasuredSource
from corinth.predictor import RowRegressor, SequenceRegressor
from corinth.report.figures import DASHES, SYMBOLS, Figure, choices, plain, series_colour
from corinth.report.formats import number
from corinth.report.look import Entrant, Extra, Look, Scored
from corinth.report.pictures import drawn_series, row_text

Source = MeasuredSource | MeasuredRows
MOST_GROUPS = 12  # that have a chart of their own


@dataclass(frozen=True)
class Values:
    """What was measured of N sequences at the positions `index` in the data, and predicted by each of S seeds."""

    index: np.ndarray  # (N,)
    targets: np.ndarray  # (N,)
    predicted: np.ndarray  # (S, N)


@dataclass(frozen=True)
class Constant:
    """What saying one number for every sequence would do: as an architecture does that has learnt nothing."""

    name: str
    value: float
    mae: float
    rmse: float


def training_mean(source: Source, train: np.ndarray, rows: np.ndarray) -> Constant:
    """The mean target of the training part, scored on `rows`."""
    value = float(source.targets[train].mean())
    errors = source.targets[rows] - value
    return Constant("mean of training", value, float(np.abs(errors).mean()), float(np.sqrt(np.square(errors).mean())))


def scatter(values: Values, source: Source, *, series: int = 0) -> Figure:
    """Predicted against measured, a point a sequence, the mean over seeds; on the dotted line they are the same."""
    mean = values.predicted.mean(axis=0)
    groups = [source.groups[i] for i in values.index] if source.groups else [""] * len(mean)
    low, high = (float(pick(np.concatenate([mean, values.targets]))) for pick in (np.min, np.max))
    data: list[dict[str, Any]] = [
        {
            "x": [low, high],
            "y": [low, high],
            "mode": "lines",
            "hoverinfo": "skip",
            "showlegend": False,
            "line": {"color": "@muted", "width": 1, "dash": "dot"},
        }
    ]
    names = list(dict.fromkeys(groups))
    for i, name in enumerate(names):
        mine = np.array([group == name for group in groups])
        data.append(
            {
                "x": _rounded(values.targets[mine]),
                "y": _rounded(mean[mine]),
                "name": plain(name) or plural(source.unit),
                "mode": "markers",
                "text": [plain(source.name(int(row))) for row in values.index[mine]],
                "marker": {
                    "color": series_colour(series + i, 0.65),
                    "size": 6,
                    "symbol": SYMBOLS[(series + i) % len(SYMBOLS)],
                },
                "showlegend": len(names) > 1,
                "hovertemplate": "%{text}<br>measured %{x:.4g}, predicted %{y:.4g}<extra></extra>",
            }
        )
    axes = {axis: {"title": {"text": f"{what} {plain(source.target_name)}"}} for axis, what in _AXES}
    return {"data": data, "layout": axes}


_AXES = (("xaxis", "measured"), ("yaxis", "predicted"))


def over_order(values: Mapping[str, Values], source: MeasuredSource, group: str, constant: float) -> Figure:
    """Measured and predicted over the places in one group: of each name the mean over seeds, and where it is alone a
    band from the smallest to the largest. `constant` is the mean of the training part, dotted."""
    data: list[dict[str, Any]] = []
    for i, (name, found) in enumerate(values.items()):
        rows = np.flatnonzero([source.groups[row] == group for row in found.index])
        rows = rows[np.argsort([source.order[row] for row in found.index[rows]], kind="stable")]
        x = [source.order[row] for row in found.index[rows]]
        predicted = found.predicted[:, rows]
        if not data:
            data.append(_line(x, found.targets[rows], "measured", {"color": "@ink", "width": 2.5}))
            ends = {"x": [x[0], x[-1]], "y": [constant] * 2, "name": "mean of training", "mode": "lines"}
            data.append(ends | {"line": {"color": "@muted", "width": 1, "dash": "dot"}, "hoverinfo": "skip"})
        if len(values) == 1 and len(predicted) > 1:
            high, low = _rounded(predicted.max(axis=0)), _rounded(predicted.min(axis=0))
            data.append(
                {
                    "x": x + x[::-1],
                    "y": high + low[::-1],
                    "fill": "toself",
                    "mode": "lines",
                    "fillcolor": series_colour(i, 0.2),
                    "line": {"width": 0, "color": series_colour(i, 0.0)},
                    "hoverinfo": "skip",
                    "showlegend": False,
                }
            )
        line = {"color": series_colour(i), "width": 1.5, "dash": DASHES[i % len(DASHES)]}
        data.append(_line(x, predicted.mean(axis=0), plain(name), line))
    layout = {
        "xaxis": {"title": {"text": plain(f"{source.order_name}, {group}")}},
        "yaxis": {"title": {"text": plain(source.target_name)}},
        "hovermode": "x unified",
    }
    return {"data": data, "layout": layout}


def _line(x: Sequence[float], y: np.ndarray, name: str, line: dict[str, Any]) -> dict[str, Any]:
    hover = "%{y:.4g}<extra>%{fullData.name}</extra>"
    return {"x": x, "y": _rounded(y), "name": name, "mode": "lines", "line": line, "hovertemplate": hover}


def orders(values: Mapping[str, Values], source: Source, train: np.ndarray) -> dict[str, Figure]:
    """The charts over the order of each group, of all names together and of each alone; none without an order."""
    first = next(iter(values.values()))
    if not isinstance(source, MeasuredSource) or not source.groups or not source.order:
        return {}
    constant = float(source.targets[train].mean())
    groups = list(dict.fromkeys(source.groups[row] for row in first.index))[:MOST_GROUPS]
    charts: dict[str, Figure] = {}
    for group in groups:
        if len(values) > 1:
            charts[f"{group}, all"] = over_order(values, source, group, constant)
        for name, found in values.items():
            label = group if len(values) == 1 else f"{group}, {name}"
            charts[label] = over_order({name: found}, source, group, constant)
    return charts


def _rounded(values: np.ndarray) -> list[float]:
    """To six digits that count: a page holds thousands of numbers."""
    return [float(f"{value:.6g}") for value in values]


@dataclass(frozen=True)
class MeasuredSample:
    """A series or a row with its number and the one that was predicted."""

    name: str
    score: float
    measured: str
    predicted: str
    picture: str | None = None  # data URI, of a series
    text: str | None = None  # of a row


def measured_series(predictor: SequenceRegressor, data: Any, position: int, score: float) -> MeasuredSample:
    values, name = data.source.sequence(position), data.source.name(position)
    (said,) = predictor.predict([values])
    assert said.value is not None
    measured = float(data.source.target(position))
    picture = drawn_series(standardised(values))
    return MeasuredSample(name, score, number(measured), number(said.value), picture=picture)


def measured_row(predictor: RowRegressor, data: Any, position: int, score: float) -> MeasuredSample:
    source = data.source
    (said,) = predictor.predict([source.filled(position)])
    assert said.value is not None
    measured = number(float(source.target(position)))
    return MeasuredSample(source.name(position), score, measured, number(said.value), text=row_text(data, position))


def standardised(values: np.ndarray) -> np.ndarray:
    """Each channel of a series (T, C) on its own scale, so that all of them are seen."""
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _of_run(scored: Scored) -> Extra:
    """The largest error, R², and what always saying the training part's mean would do."""
    found, data = scored.found, scored.data
    mean = training_mean(data.source, data.positions("train"), data.positions(scored.part))
    r2 = () if found.r2 is None else (("R²", f"{found.r2:.3f}", "0 is as good as this part's mean"),)
    scores = (
        ("Largest error", number(found.max_error), f"of a {data.source.unit}"),
        *r2,
        ("Mean of training", number(mean.rmse), f"RMSE of always saying {number(mean.value)}"),
    )
    values = Values(found.index, found.targets, found.predicted[None])
    return Extra(scores, charts=_charts({scored.predictor.arch: values}, data))


def _of_comparison(entrants: list[Entrant], data: Any) -> Extra:
    return Extra(charts=_charts({entrant.label: _predicted(entrant) for entrant in entrants}, data))


def _predicted(entrant: Entrant) -> Values:
    """What every seed predicted."""
    found = entrant.answers()
    return Values(found[0].index, found[0].target, np.stack([answers.value for answers in found]))


def _charts(values: Mapping[str, Values], data: Any) -> dict[str, Any]:
    drawn = {name: scatter(found, data.source, series=i) for i, (name, found) in enumerate(values.items())}
    charts = {"values": choices(drawn)}
    if ordered := orders(values, data.source, data.positions("train")):
        charts["orders"] = choices(ordered)
    return charts


LOOK = Look(
    measured_series,
    hint="each channel on its own scale, and what was measured \N{RIGHTWARDS ARROW} predicted",
    of_run=_of_run,
    of_comparison=_of_comparison,
)

ROWS = Look(
    measured_row,
    hint="what was measured \N{RIGHTWARDS ARROW} predicted",
    of_run=_of_run,
    of_comparison=_of_comparison,
)
