"""One file, nothing loaded from elsewhere, and no name from outside that could act in it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fabricate import board, image_data

from corinth.compare.report import write_report
from corinth.report import figures, page
from corinth.tasks.kinds import KINDS, Kind

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "{{ 7 * 7 }} & \"q\" 'q'",
    "@1 \u2028 é",
)


class Tags(HTMLParser):
    """The start tags of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hostile")
    data = image_data(classes=HOSTILE)
    failures = {("cnn", seed): "<b>boom</b>" for seed in range(3)}
    made = board(folder, data, {"lenet5": 0.6, "other=lenet5": 0.6, "cnn": 0.5}, failures=failures)
    path, note = write_report(made, data, folder)
    assert note is None
    return path.read_text(encoding="utf-8")


def test_names_from_outside_cannot_act(hostile: str) -> None:
    tags = Tags(hostile)
    assert len(tags.scripts) == 4  # theme, figures, plotly, page
    assert not any("alert(1)" in script for script in tags.scripts if not script.lstrip().startswith("{"))
    images = [attributes for tag, attributes in tags.found if tag == "img"]
    assert images
    assert all(
        attributes["src"].startswith("data:image/png;base64,") and "onerror" not in attributes for attributes in images
    )
    assert "<b>boom" not in hostile
    assert "{{ 7 * 7 }}" in hostile  # text, not a template


def test_the_figures_survive_the_journey(hostile: str) -> None:
    found = json.loads(Tags(hostile).scripts[1])
    matrix = found["confusion"]["choices"][0]["data"][0]
    assert matrix["x"][3] == "@1 \u2028 é"  # a class name that looks like a colour
    assert matrix["x"][0].startswith("&lt;/script&gt;")  # plotly would read markup
    assert [choice["label"] for choice in found["confusion"]["choices"]] in (["lenet5", "other"], ["other", "lenet5"])


def test_nothing_is_loaded_from_elsewhere(hostile: str) -> None:
    for tag, attributes in Tags(hostile).found:
        assert tag not in ("link", "iframe", "object", "embed")
        assert not (tag == "script" and "src" in attributes)
        assert not str(attributes.get("src") or "data:").startswith("http")
    assert "default-src 'none'" in hostile


def test_it_says_what_a_reader_needs(hostile: str) -> None:
    for words in (
        "Leaderboard",
        "Score against cost",
        "Learning curves",
        "Confusion",
        "Mistakes",
        "Recipes",
        "Method and assumptions",
        "Data, budget, machine",
        "budget of 12ep",
        "training on 1 thread",
        "torch ",
        "fingerprint",
    ):
        assert words in hostile


def test_json_in_a_script_is_safe_and_the_same() -> None:
    value = {"a": "</script><!-- & \u2028 \u2029", "b": [1, None, "é"]}
    text = str(page.script_json(value))
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == value


def test_without_plotly_the_rest_is_written_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "plotly_script", lambda: None)
    data = image_data()
    made = board(tmp_path, data, {"lenet5": 0.9, "cnn": 0.8}, seeds=1)
    path, note = write_report(made, data, tmp_path)
    assert note is not None
    assert "pip install 'corinth[report]'" in note
    text = path.read_text(encoding="utf-8")
    assert "Chart left out: confusion matrix" in text
    assert "pip install" in text
    assert "Leaderboard" in text
    assert len(text) < 1_000_000


def test_absent_plotly_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert page.plotly_script() is None


def test_interrupted_before_everyone_ran(tmp_path: Path) -> None:
    data = image_data()
    made = board(tmp_path, data, {"lenet5": 0.9, "cnn": 0.8}, failures={("cnn", s): "x" for s in range(3)}, costs=False)
    path, _ = write_report(made, data, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "Score against cost" not in text
    assert "nothing else finished" in text


def test_latency_says_whose_threads_and_leaves_out_only_whom_it_must(tmp_path: Path) -> None:
    data = image_data()
    untimed = {
        "latency_ms": None,
        "latency_batch_ms": None,
        "threads": None,
        "problem": "the latency was not measured: x",
    }
    unlike = {"cnn": {"threads": 2}, "alexnet": untimed}
    made = board(tmp_path, data, {"lenet5": 0.9, "cnn": 0.8, "alexnet": 0.7}, unlike=unlike)
    assert made.latency_basis == "cpu, 1 thread (lenet5); cpu, 2 threads (cnn)"
    text = write_report(made, data, tmp_path)[0].read_text(encoding="utf-8")
    assert "cpu, 1 thread (lenet5); cpu, 2 threads (cnn)" in text
    drawn = json.loads(Tags(text).scripts[1])
    named = {
        chart: {trace["name"] for trace in drawn[chart]["choices"][0]["data"] if "name" in trace}
        for chart in ("against_params", "against_latency")
    }
    assert named == {"against_params": {"lenet5", "cnn", "alexnet"}, "against_latency": {"lenet5", "cnn"}}


def test_so_many_classes_that_a_confusion_matrix_is_left_out(tmp_path: Path) -> None:
    data = image_data(classes=tuple(f"class {k}" for k in range(figures.MOST_CLASSES + 1)), samples=900)
    made = board(tmp_path, data, {"lenet5": 0.9, "cnn": 0.8})
    path, _ = write_report(made, data, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "with this many classes it could not be read" in text
    assert "Learning curves" in text


SHARES = KINDS["image-classification"]


def checked(figure: dict[str, Any]) -> None:
    """Plotly's own validation of names and values, colour tokens replaced as page.js does."""
    import plotly.graph_objects as go

    def coloured(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: coloured(v) for k, v in node.items()}
        if isinstance(node, list):
            return [coloured(v) for v in node]
        return "#123456" if isinstance(node, str) and re.fullmatch(r"@\w+(/[\d.]+)?", node) else node

    layout = {k: v for k, v in figure["layout"].items() if k != "square"}
    go.Figure(data=coloured(figure["data"]), layout=coloured(layout))


def test_figures_are_plotlys() -> None:
    scores = [(0.9, 0.85, 0.93), (0.95, 0.9, 0.97), (0.8, 0.7, 0.9)]
    checked(figures.score_against(["a", "b", "c"], [10, 1e5, 3e3], scores, kind=SHARES, title="parameters"))
    checked(figures.score_against(["a"], [0.3], scores[:1], kind=SHARES, title="latency", unit=" ms"))
    seeds = [[{"epoch": e, "val_top1": 0.1 * e} for e in range(1, n)] for n in (4, 3)]
    found = figures.curves(
        {"a": seeds, "none": []}, kind=SHARES, x="epoch", y="val_top1", x_title="epoch", y_title="accuracy"
    )
    checked(found)
    line = found["data"][1]
    assert (line["x"], line["y"]) == ([1, 2, 3], pytest.approx([10, 20, 30]))
    rows = [{"epoch": 1, "train_loss": 2.0, "val_loss": 1.5}, {"epoch": 2, "train_loss": 1.0}]
    checked(figures.losses(rows, x="epoch", x_title="epoch"))
    counts = image_data().source.labels[:16].reshape(4, 4)
    checked(figures.confusion(counts, ["a", "a", "b", "c" * 99]))


def test_errors_are_drawn_as_they_are_and_the_front_is_below() -> None:
    kind = Kind("regression", "rmse", "RMSE", "absolute error", share=False, lower_is_better=True)
    scores = [(3.0, 2.5, 3.5), (1.5, 1.0, 2.0), (2.0, 1.8, 2.2)]
    found = figures.score_against(["a", "b", "c"], [1, 10, 100], scores, kind=kind, title="parameters")
    checked(found)
    front, first, *_ = found["data"]
    assert (front["x"], front["y"]) == ([1, 10], [3.0, 1.5])
    assert (first["y"], first["error_y"]["array"]) == ([3.0], [0.5])
    assert "%" not in first["hovertemplate"].replace("%{", "")
    assert "ticksuffix" not in found["layout"]["yaxis"]


def test_the_front_has_those_that_nothing_dominates() -> None:
    assert figures._front([1, 2, 3, 4], [0.5, 0.9, 0.8, 0.95]) == [0, 1, 3]
    assert figures._front([1, 1], [0.5, 0.6]) == [1]


def test_equal_class_names_stay_apart() -> None:
    trace = figures.confusion(image_data().source.labels[:9].reshape(3, 3), ["a", "a", "b"])["data"][0]
    assert trace["x"] == ["a", "a (2)", "b"]
