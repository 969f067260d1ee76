"""Forecasts inside a page: windows with what came and what was foretold, a stretch of time, and errors by lead time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from markupsafe import Markup

from corinth.data.sequences.baselines import forecasters
from corinth.data.sequences.forecast import ForecastSource
from corinth.predictor import Forecaster
from corinth.predictor.forecast_scores import score
from corinth.report.figures import DASHES, Figure, choices, plain, series_colour
from corinth.report.formats import number
from corinth.report.look import Entrant, Extra, Look, Scored
from corinth.report.translations import typical

WIDTH, HEIGHT, MARGIN = 320, 140, 6  # of a drawing
MOST_STEPS = 600  # of a stretch of time
MOST_TARGETS = 6  # that have a stretch
MOST_HARDEST = 8  # windows that a run's page shows before the typical ones
MOST_PAST = 3  # horizons of a window that are drawn, at most
BASELINE_DASH = "dot"


@dataclass(frozen=True)
class ShownForecast:
    """A window as a drawing: what was seen of one target, what came, and what was foretold."""

    name: str
    score: float
    drawing: Markup
    target: str


def shown_forecast(predictor: Forecaster, data: Any, position: int, score: float) -> ShownForecast:
    """The target that was missed most, over its spread."""
    source: ForecastSource = data.source
    (said,) = predictor.forecast(data, np.array([position]))
    truth, spread = source.target(position), np.array(predictor.preprocess.std)[list(source.targets)]
    k = int(np.square((said - truth) / spread).mean(axis=0).argmax())
    past = source.sequence(position)[-MOST_PAST * source.horizon :, source.targets[k]]
    name = source.target_names[k]
    return ShownForecast(source.name(position), score, drawn(past, truth[:, k], said[:, k], name), name)


def drawn(past: np.ndarray, truth: np.ndarray, said: np.ndarray, name: str) -> Markup:
    """An SVG of a window (W,), the truth and the forecast (H,) in the page's colours."""
    low, high = (float(pick(np.concatenate([past, truth, said]))) for pick in (np.min, np.max))
    total = len(past) + len(truth)

    def line(values: np.ndarray, start: int, kind: str) -> str:
        x = MARGIN + (start + np.arange(len(values))) / max(total - 1, 1) * (WIDTH - 2 * MARGIN)
        y = HEIGHT - MARGIN - (values - low) / ((high - low) or 1.0) * (HEIGHT - 2 * MARGIN)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
        return f'<polyline class="{kind}" points="{points}"/>'

    joined = past[-1:]
    lines = [
        line(past, 0, "past"),
        line(np.concatenate([joined, truth]), len(past) - 1, "truth"),
        line(np.concatenate([joined, said]), len(past) - 1, "said"),
    ]
    text = escape(f"{name}: {number(float(low), 3)} to {number(float(high), 3)}")
    return Markup(
        f'<svg class="forecast" role="img" viewBox="0 0 {WIDTH} {HEIGHT}"><title>{text}</title>{"".join(lines)}</svg>'
    )


def stretch(source: ForecastSource, rows: Sequence[int], forecasts: Mapping[str, np.ndarray], k: int) -> Figure:
    """What came of a target over the windows at `rows`, which lie one behind the other, and each one's forecasts."""
    x, truth = _one_behind_the_other(source, rows, [source.target(i)[:, k] for i in rows], joined=True)
    data = [_line(x, truth, "truth", {"color": "@ink", "width": 2})]
    for i, (name, found) in enumerate(forecasts.items()):
        places, values = _one_behind_the_other(source, rows, list(found[:, :, k]), joined=False)
        data.append(_line(places, values, name, {"color": series_colour(i), "width": 1.6, "dash": DASHES[i % 4]}))
    layout = {
        "xaxis": {"title": {"text": plain(source.time_column)}, "nticks": 8},
        "yaxis": {"title": {"text": plain(source.target_names[k])}},
        "hovermode": "x unified",
    }
    return {"data": data, "layout": layout}


def _one_behind_the_other(
    source: ForecastSource, rows: Sequence[int], values: Sequence[np.ndarray], *, joined: bool
) -> tuple[list[str], list[float | None]]:
    """Times and values of some windows; a gap between two, with `joined` only between those that do not touch."""
    x: list[str] = []
    y: list[float | None] = []
    end = -1
    for i, mine in zip(rows, values, strict=True):
        start = int(source.origins[i, 1])
        if x and not (joined and start == end):
            x.append(x[-1])
            y.append(None)
        end = start + source.horizon
        x += source.times(i)[source.window :]
        y += [float(f"{value:.5g}") for value in mine]
    return x, y


def _line(x: Sequence[Any], y: Sequence[float | None], name: str, line: dict[str, Any]) -> dict[str, Any]:
    hover = "%{y:.4g}<extra>%{fullData.name}</extra>"
    return {"x": list(x), "y": list(y), "name": plain(name), "mode": "lines", "line": line, "hovertemplate": hover}


def by_lead(networks: Mapping[str, np.ndarray], baselines: Mapping[str, np.ndarray]) -> Figure:
    """MSE of each step ahead (H,)."""
    data = []
    for i, (name, values) in enumerate({**networks, **baselines}.items()):
        dash = BASELINE_DASH if name in baselines else "solid"
        line = {"color": series_colour(i), "width": 1.4 if name in baselines else 2.2, "dash": dash}
        data.append(_line(range(1, len(values) + 1), [float(f"{value:.5g}") for value in values], name, line))
    layout = {
        "xaxis": {"title": {"text": "steps ahead"}},
        "yaxis": {"title": {"text": "MSE, standardised"}, "rangemode": "tozero"},
        "hovermode": "x unified",
    }
    return {"data": data, "layout": layout}


def _stretches(data: Any, part: str, forecasts: Mapping[str, Callable[[np.ndarray], np.ndarray]]) -> dict[str, Figure]:
    """A stretch of each of the first targets, from the beginning of a part, of the first series in it."""
    source: ForecastSource = data.source
    apart = source.apart(data.positions(part))
    apart = apart[source.origins[apart][:, 0] == source.origins[apart[0], 0]]
    rows = apart[: max(1, MOST_STEPS // source.horizon)]
    found = {name: forecast(rows) for name, forecast in forecasts.items()}
    return {name: stretch(source, rows.tolist(), found, k) for k, name in enumerate(source.target_names[:MOST_TARGETS])}


def in_the_middle(scores: np.ndarray) -> list[int]:
    """The places of typical windows by their errors (N,), which are not shown as the hardest."""
    hardest = set(np.argsort(-scores, kind="stable")[:MOST_HARDEST].tolist())
    return [i for i in typical(scores, 4).tolist() if i not in hardest]


def _of_run(scored: Scored) -> Extra:
    """The baselines, the typical windows, a stretch of time and the error of each step ahead."""
    predictor, data, found = scored.predictor, scored.data, scored.found
    best = min(found.baselines, key=lambda name: found.baselines[name].mse)
    linear = forecasters(data.source, data.splits)[best]
    own = [f"{number(rmse)} RMSE of {name}" for name, rmse in zip(found.target_names, found.network.unit_rmse)][:1]
    scores = (
        ("MAE", number(found.mae), own[0] if len(found.target_names) == 1 else "standardised, as the MSE"),
        *((f"{_title(name)}", number(base.mse), "MSE, no network") for name, base in found.baselines.items()),
    )
    stretches = _stretches(
        data, scored.part, {predictor.arch: lambda rows: predictor.forecast(data, rows), best: linear}
    )
    leads = by_lead({predictor.arch: found.network.by_lead}, {n: b.by_lead for n, b in found.baselines.items()})
    shown = [
        shown_forecast(predictor, data, int(found.index[i]), float(found.per_sample[i]))
        for i in in_the_middle(found.per_sample)
    ]
    charts = {"stretch": choices(stretches), "leads": choices({"steps ahead": leads})}
    return Extra(scores, {"typical": shown}, charts)


def _of_comparison(entrants: list[Entrant], data: Any) -> Extra:
    """The same of the first seed of each, over the windows that are compared."""
    networks: dict[str, Any] = {entrant.label: entrant.network() for entrant in entrants}
    if not networks:
        return Extra()
    source: ForecastSource = data.source
    apart = source.apart(data.positions("test"))
    encoding = next(iter(networks.values())).preprocess

    def of(network: Any) -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: network.forecast(data, rows)

    own = {label: of(network) for label, network in networks.items()}
    others = forecasters(source, data.splits)
    leads = {
        kind: {name: score(source, encoding, apart, forecast).by_lead for name, forecast in found.items()}
        for kind, found in (("networks", own), ("others", others))
    }
    charts = {
        "stretch": choices(_stretches(data, "test", own)),
        "leads": choices({"steps ahead": by_lead(leads["networks"], leads["others"])}),
    }
    return Extra(charts=charts)


def _title(name: str) -> str:
    return name[0].upper() + name[1:]


LOOK = Look(
    shown_forecast,
    hint="what was seen (thin), what came, and what was foretold (coloured), of the target that was missed most",
    of_run=_of_run,
    of_comparison=_of_comparison,
)
