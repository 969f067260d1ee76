"""The charts, as plain plotly dictionaries; plotly's Python side is not needed to build them.

Colours are tokens ("@1" the first series, "@1/0.2" with opacity, "@ink", "@muted", "@line", "@paper") which page.js
replaces by the theme's colours, so that one figure serves dark, light and paper. Plotly reads markup in its texts:
every name from outside goes through `plain`. Series differ in dash and symbol as well as in colour.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corinth.report.formats import quantity
from corinth.tasks.kinds import Kind

Figure = dict[str, Any]
SERIES = 8
MOST_CLASSES = 200  # a confusion matrix beyond that is unreadable and makes a heavy page
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")


def plain(text: str) -> str:
    """Text that plotly shows as it is, not as markup."""
    return html.escape(text, quote=False)


def choices(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Several figures for one place on the page, of which the reader sees one; the first to begin with."""
    return {"choices": [{"label": label, **figure} for label, figure in figures.items()]}


def score_against(
    names: Sequence[str],
    cost: Sequence[float],
    scores: Sequence[tuple[float, float, float]],
    *,
    kind: Kind,
    title: str,
    unit: str = "",
) -> Figure:
    """Score (mean, low, high) against a cost on a logarithmic axis, with the front of those not dominated."""
    data: list[dict[str, Any]] = []
    scale, sign = _scale(kind), -1 if kind.lower_is_better else 1
    front = _front(cost, [sign * mean for mean, _, _ in scores])
    if len(front) > 1:
        data.append(
            {
                "x": [cost[i] for i in front],
                "y": [scale * scores[i][0] for i in front],
                "mode": "lines",
                "line": {"color": "@muted", "width": 1, "dash": "dot"},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    for i, (name, x, (mean, low, high)) in enumerate(zip(names, cost, scores)):
        data.append(
            {
                "x": [x],
                "y": [scale * mean],
                "name": plain(name),
                "text": [plain(name)],
                "textposition": "top center" if i % 2 == 0 else "bottom center",
                "textfont": {"color": "@ink"},
                "mode": "markers+text",
                "cliponaxis": False,
                "marker": {"color": series_colour(i), "size": 10, "symbol": SYMBOLS[i % len(SYMBOLS)]},
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [scale * (high - mean)],
                    "arrayminus": [scale * (mean - low)],
                    "color": series_colour(i, 0.45),
                    "thickness": 1.5,
                    "width": 4,
                },
                "hovertemplate": f"%{{text}}<br>{_hover(kind)}, %{{x:.3s}}{unit}<extra></extra>",
            }
        )
    axis = {"title": {"text": title}, "type": "log", **_log_ticks(min(cost), max(cost))}
    return {"data": data, "layout": {"xaxis": axis, "yaxis": _score_axis(kind, "test score"), "showlegend": False}}


def curves(
    histories: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    *,
    kind: Kind,
    x: str,
    y: str,
    x_title: str,
    y_title: str,
) -> Figure:
    """Learning curves: for each name the mean over seeds as a line, smallest to largest as a band.

    `histories` maps a name to one list of evaluations a seed; `x` and `y` are keys of an evaluation, `y` a score of
    the kind.
    """
    data: list[dict[str, Any]] = []
    for i, (name, seeds) in enumerate(histories.items()):
        points = []
        for step in range(max((len(rows) for rows in seeds), default=0)):
            rows = [s[step] for s in seeds if step < len(s) and s[step].get(y) is not None]
            if rows:
                values = [_scale(kind) * row[y] for row in rows]
                points.append((np.mean([row[x] for row in rows]), np.mean(values), min(values), max(values)))
        if not points:
            continue
        xs, mean, low, high = (np.round(column, 4).tolist() for column in zip(*points))
        group = f"series{i}"
        if len(seeds) > 1:
            data.append(
                {
                    "x": xs + xs[::-1],
                    "y": high + low[::-1],
                    "fill": "toself",
                    "fillcolor": series_colour(i, 0.16),
                    "line": {"width": 0, "color": series_colour(i, 0.0)},
                    "mode": "lines",
                    "hoverinfo": "skip",
                    "showlegend": False,
                    "legendgroup": group,
                }
            )
        line = {"color": series_colour(i), "width": 2, "dash": DASHES[(i // SERIES + i) % len(DASHES)]}
        data.append(
            {
                "x": xs,
                "y": mean,
                "name": plain(name),
                "legendgroup": group,
                "mode": "lines+markers" if len(xs) < 3 else "lines",
                "line": line,
                "marker": {"color": series_colour(i), "symbol": SYMBOLS[i % len(SYMBOLS)]},
                "hovertemplate": f"{_hover(kind)}<extra>%{{fullData.name}}</extra>",
            }
        )
    layout = {"xaxis": {"title": {"text": x_title}}, "yaxis": _score_axis(kind, y_title), "hovermode": "x unified"}
    return {"data": data, "layout": layout}


def losses(rows: Sequence[Mapping[str, float]], *, x: str, x_title: str) -> Figure:
    """Training and validation loss of one run."""
    data = []
    for i, (key, name) in enumerate((("train_loss", "training"), ("val_loss", "validation"))):
        known = [(row[x], row[key]) for row in rows if row.get(key) is not None]
        if known:
            xs, ys = (list(column) for column in zip(*known))
            line = {"color": series_colour(i), "width": 2, "dash": DASHES[i]}
            data.append({"x": xs, "y": ys, "name": name, "mode": "lines", "line": line})
    layout = {"xaxis": {"title": {"text": x_title}}, "yaxis": {"title": {"text": "loss"}}, "hovermode": "x unified"}
    return {"data": data, "layout": layout}


def norms_by_step(shares: Mapping[str, Sequence[float]]) -> Figure:
    """For each name a norm at 0, 1, 2, ... steps back, on a logarithmic axis; what is 0 there is left out."""
    data = []
    for i, (name, values) in enumerate(shares.items()):
        known = [(back, value) for back, value in enumerate(values) if value > 0]
        xs, ys = (list(column) for column in zip(*known)) if known else ([], [])
        line = {"color": series_colour(i), "width": 2, "dash": DASHES[(i // SERIES + i) % len(DASHES)]}
        data.append({"x": xs, "y": ys, "name": plain(name), "mode": "lines", "line": line})
    layout = {
        "xaxis": {"title": {"text": "steps back from the last"}},
        "yaxis": {"type": "log", "exponentformat": "power", "title": {"text": "norm of the gradient"}},
        "hovermode": "x unified",
    }
    return {"data": data, "layout": layout}


def confusion(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Rows are true classes, columns predictions; shade is the share of the row, the number is the count."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = len(classes)
    names = _distinct([plain(_shortened(name)) for name in classes])
    hover = [
        [f"{names[i]} called {names[j]}: {counts[i, j]} ({shares[i, j]:.1%})" for j in range(size)] for i in range(size)
    ]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": np.round(shares, 4).tolist(),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "@soft"], [1, "@1"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertext": hover,
        "hovertemplate": "%{hovertext}<extra></extra>",
    }
    if size <= 20:
        trace["text"] = [[str(c) if c else "" for c in row] for row in counts.tolist()]
        trace["texttemplate"] = "%{text}"
    category: dict[str, Any] = {"type": "category", "showgrid": False, "zeroline": False}
    if size <= 40:
        category |= {"tickmode": "array", "tickvals": names, "ticktext": names}
    layout = {
        "xaxis": category | {"title": {"text": "predicted"}, "constrain": "domain"},
        "yaxis": category
        | {"title": {"text": "true"}, "autorange": "reversed", "scaleanchor": "x", "constrain": "domain"},
        "square": True,
    }
    return {"data": [trace], "layout": layout}


def _front(cost: Sequence[float], score: Sequence[float]) -> list[int]:
    """Positions of those that nothing beats in score at the same or a lower cost, by cost."""
    out: list[int] = []
    for i in sorted(range(len(cost)), key=lambda i: (cost[i], -score[i])):
        if not out or score[i] > score[out[-1]]:
            out.append(i)
    return out


def _log_ticks(low: float, high: float) -> dict[str, Any]:
    """Range and ticks of a logarithmic axis, with room at the sides for names."""
    room = max(0.18 * np.log10(high / low), 0.3)
    first, last = np.log10(low) - room, np.log10(high) + room
    steps = (1, 2, 5) if last - first < 2 else (1,)
    values = [step * 10.0**k for k in range(int(np.floor(first)), int(np.ceil(last))) for step in steps]
    texts = [quantity(value) for value in values]
    return {"range": [float(first), float(last)], "tickmode": "array", "tickvals": values, "ticktext": texts}


def _scale(kind: Kind) -> int:
    return 100 if kind.share else 1


def _hover(kind: Kind) -> str:
    return "%{y:.1f} %" if kind.share else "%{y:.4g}"


def _score_axis(kind: Kind, title: str) -> dict[str, Any]:
    percent = {"ticksuffix": " %", "hoverformat": ".1f"}
    return {"title": {"text": title}, **(percent if kind.share else {"hoverformat": ".4g"})}


def series_colour(series: int, opacity: float | None = None) -> str:
    """The token of a series' colour."""
    token = f"@{series % SERIES + 1}"
    return token if opacity is None else f"{token}/{opacity}"


def _shortened(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _distinct(names: list[str]) -> list[str]:
    """Category axes merge equal names; number the repeats."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out
