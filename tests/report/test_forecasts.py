"""Forecasts on a page: stretches of time, errors by steps ahead, drawings of windows."""

from pathlib import Path

import numpy as np

from corinth.data import open_data
from corinth.data.sequences.forecast import ForecastSource
from corinth.report.forecasting import by_lead, drawn, in_the_middle, stretch
from series_tables import AHEAD, wave, write_series


def test_the_truth_goes_on_and_each_forecast_begins_anew(tmp_path: Path) -> None:
    source = open_data(write_series(tmp_path / "w.csv", wave(60)), **AHEAD).source
    assert isinstance(source, ForecastSource)
    rows = [0, 4, 20]  # the first two touch
    said = np.stack([source.target(i) + 1 for i in rows])
    truth, forecast = stretch(source, rows, {"<b>net</b>": said}, 1)["data"]
    assert [x is None for x in truth["y"]] == [False] * 8 + [True] + [False] * 4
    assert [x is None for x in forecast["y"]] == ([False] * 4 + [True]) * 2 + [False] * 4
    assert truth["x"][0] == source.times(0)[8]
    np.testing.assert_allclose(truth["y"][:4], source.target(0)[:, 1], rtol=1e-4)
    np.testing.assert_allclose(forecast["y"][5:9], source.target(4)[:, 1] + 1, rtol=1e-4)
    assert forecast["name"] == "&lt;b&gt;net&lt;/b&gt;"


def test_errors_by_steps_ahead() -> None:
    lines = by_lead({"net": np.array([0.1, 0.2])}, {"linear": np.array([0.3, 0.4])})["data"]
    assert [(line["name"], line["x"], line["y"], line["line"]["dash"]) for line in lines] == [
        ("net", [1, 2], [0.1, 0.2], "solid"),
        ("linear", [1, 2], [0.3, 0.4], "dot"),
    ]


def test_no_window_is_hard_and_typical() -> None:
    assert in_the_middle(np.arange(8.0)) == []
    assert in_the_middle(np.arange(14.0)) == [5]  # of 5 to 8, of which the last are among the 8 hardest
    assert in_the_middle(np.arange(30.0)) == [13, 14, 15, 16]


def test_a_drawing_is_of_one_scale_and_escapes_names() -> None:
    svg = str(drawn(np.array([0.0, 1.0]), np.array([2.0]), np.array([4.0]), "<script>"))
    assert svg.count("<polyline") == 3
    assert "<script>" not in svg
    assert "&lt;script&gt;: 0.00 to 4.00" in svg
    assert '<polyline class="truth" points="160.0,102.0 314.0,70.0"/>' in svg  # to the middle of 0 to 4
    flat = str(drawn(np.ones(3), np.ones(2), np.ones(2), "x"))
    assert "nan" not in flat
