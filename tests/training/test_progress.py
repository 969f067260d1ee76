"""What reporters write, on a terminal and in a log."""

import io
from typing import Any

import pytest
from rich.console import Console

from corinth.data import open_data
from corinth.training import LineReporter, RichReporter, train
from corinth.training.progress import duration

FIELDS: dict[str, Any] = {
    "arch": "cnn",
    "options": {"channels": (8,)},
    "img_size": 8,
    "budget": "2ep",
    "device": "cpu",
    "threads": 1,
}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0s"), (8.25, "8.2s"), (59.9, "59.9s"), (245, "4:05"), (3723, "1:02:03")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_for_a_log(tmp_path: Any) -> None:
    out = io.StringIO()
    run = train(
        data=open_data("digits"),
        output=str(tmp_path / "run"),
        reporter=LineReporter(Console(file=out, width=80), every=0.0),
        **FIELDS,
    )
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert lines[0].startswith("cnn (")
    assert "2ep on cpu (1 threads), fp32, batch 128" in lines[0]
    evaluated = [line for line in lines if line.startswith("epoch") and "val top1" in line]
    assert len(evaluated) == 2
    assert lines[-1].endswith(f"saved in {run.path}")


def test_a_terminal_is_left_in_order(tmp_path: Any) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160)
    train(data=open_data("digits"), output=str(tmp_path / "run"), reporter=RichReporter(console), **FIELDS)
    text = out.getvalue()
    assert "samples/s" in text
    assert "val top1" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown again


def test_a_step_shows_what_there_is_to_know() -> None:
    out = io.StringIO()
    status = {
        "epoch": 1.5,
        "step": 12,
        "samples": 1500,
        "seconds": 61.0,
        "lr": 0.1,
        "samples_per_second": 24.6,
        "progress": 0.25,
        "seconds_left": 183.0,
        "losses": {"loss": 1.25, "top1": 0.5},
    }
    LineReporter(Console(file=out, width=200), every=0.0).step(status)
    said = " 25%  epoch    1.50  1:01  25 samples/s  lr 0.1  loss 1.2500  top1 0.5000  3:03 left\n"
    assert out.getvalue() == said
    console = Console(file=out, force_terminal=True, width=200)
    reporter = RichReporter(console)
    reporter.step(status)
    with console.capture() as shown:
        console.print(reporter._live.renderable)
    assert "3:03 left" in shown.get()
