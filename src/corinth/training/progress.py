"""What a training says while it runs: live in a terminal, line by line in a log, or not at all."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


class Reporter(Protocol):
    """Called by a training, on the main process only.

    `start` gets what is about to run: run, arch, data, classes, device, threads, precision, parameters, budget,
    batch_size, train and val samples. `step` comes about twice a second with epoch, step, samples, seconds, lr,
    samples_per_second, progress (0 to 1), seconds_left and losses; `evaluation` with a row of metrics.jsonl;
    `end` with the run's path, the reason and the best row.
    """

    def start(self, info: Mapping[str, Any]) -> None: ...
    def step(self, status: Mapping[str, Any]) -> None: ...
    def evaluation(self, row: Mapping[str, Any]) -> None: ...
    def message(self, text: str) -> None: ...
    def end(self, result: Mapping[str, Any]) -> None: ...


class SilentReporter:
    """Says nothing."""

    def start(self, info: Mapping[str, Any]) -> None: ...
    def step(self, status: Mapping[str, Any]) -> None: ...
    def evaluation(self, row: Mapping[str, Any]) -> None: ...
    def message(self, text: str) -> None: ...
    def end(self, result: Mapping[str, Any]) -> None: ...


class LineReporter:
    """Plain lines for logs: every evaluation, and between them one line every `every` seconds."""

    def __init__(self, console: Console, every: float = 30.0) -> None:
        self.console, self.every = console, every
        self._said_at = time.monotonic()

    def start(self, info: Mapping[str, Any]) -> None:
        self.message(introduction(info))

    def step(self, status: Mapping[str, Any]) -> None:
        if time.monotonic() - self._said_at >= self.every:
            left = duration(status["seconds_left"])
            self.message(f"{status['progress']:4.0%}  {describe(status)}  {describe_losses(status)}  {left} left")

    def evaluation(self, row: Mapping[str, Any]) -> None:
        self.message(f"{describe(row)}  {describe_metrics(row)}")

    def message(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._said_at = time.monotonic()

    def end(self, result: Mapping[str, Any]) -> None:
        self.message(conclusion(result))


class RichReporter:
    """A live line with a bar under the lines of the evaluations."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, transient=True, auto_refresh=False)

    def start(self, info: Mapping[str, Any]) -> None:
        self.message(introduction(info))
        self._live.start()

    def step(self, status: Mapping[str, Any]) -> None:
        self._live.update(_bar(status), refresh=True)

    def evaluation(self, row: Mapping[str, Any]) -> None:
        style = "bold" if row.get("best") else ""
        self.console.print(Text(f"{describe(row)}  {describe_metrics(row)}", style=style))

    def message(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def end(self, result: Mapping[str, Any]) -> None:
        """Also called when the training fails, so that the terminal is left in order."""
        self._live.stop()
        self.message(conclusion(result))


class Several:
    """Tells several reporters."""

    def __init__(self, *reporters: Reporter) -> None:
        self.reporters = reporters

    def start(self, info: Mapping[str, Any]) -> None:
        for reporter in self.reporters:
            reporter.start(info)

    def step(self, status: Mapping[str, Any]) -> None:
        for reporter in self.reporters:
            reporter.step(status)

    def evaluation(self, row: Mapping[str, Any]) -> None:
        for reporter in self.reporters:
            reporter.evaluation(row)

    def message(self, text: str) -> None:
        for reporter in self.reporters:
            reporter.message(text)

    def end(self, result: Mapping[str, Any]) -> None:
        for reporter in self.reporters:
            reporter.end(result)


def introduction(info: Mapping[str, Any]) -> str:
    threads = f" ({info['threads']} threads)" if info["device"] == "cpu" else ""
    classes = f", {info['classes']} classes" if info["classes"] else ""
    return (
        f"{info['arch']} ({info['parameters']:,} parameters) on {info['data']} "
        f"({info['train_samples']:,} training and {info['val_samples']:,} validation {info['several']}{classes}), "
        f"{info['budget']} on {info['device']}{threads}, {info['precision']}, "
        f"batch {info['batch_size']} -> {info['run']}"
    )


def describe(status: Mapping[str, Any]) -> str:
    return (
        f"epoch {status['epoch']:7.2f}  {duration(status['seconds'])}  "
        f"{status['samples_per_second']:,.0f} samples/s  lr {status['lr']:.2g}"
    )


def describe_losses(status: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in status["losses"].items())


def describe_metrics(row: Mapping[str, Any]) -> str:
    named = {name: value for name, value in row.items() if name.startswith(("train_", "val_"))}
    return "  ".join(f"{name.replace('_', ' ', 1)} {value:.4f}" for name, value in named.items())


def conclusion(result: Mapping[str, Any]) -> str:
    best = result.get("best")
    if result["reason"] == "interrupted":
        return f"interrupted; everything is saved, go on with --resume {result['run']}"
    if result["reason"] == "failed":
        return f"failed; what was saved is in {result['run']}"
    said = f"best: epoch {best['epoch']:.2f}  {describe_metrics(best)}; " if best else ""
    stopped = " (stopped early)" if result["reason"] == "early stopping" else ""
    return f"{said}saved in {result['run']}{stopped}"


def duration(seconds: float) -> str:
    """`8.3s`, `4:05`, `1:02:03`."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar(status: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(
        ProgressBar(total=1.0, completed=status["progress"], width=24),
        f"{status['progress']:.0%}",
        describe(status),
        describe_losses(status),
        f"{duration(status['seconds_left'])} left",
    )
    return table
