"""The leaderboard: what a comparison found, as values, as files, and as a table for the terminal."""

import csv
import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from corinth.compare.statistics import Difference, Interval
from corinth.files import write_json, write_text
from corinth.report.formats import bare_score, difference_text, duration, milliseconds, quantity, score_text
from corinth.tasks.kinds import KINDS, Kind

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one architecture asks for, measured on this machine at the input size that was used."""

    params: int
    macs: int  # multiply-adds of one sample
    input_size: tuple[int, ...]  # (H, W) of images, (T,) of tokens, (T, C) of time series
    latency_ms: float | None = None  # median of one forward pass, batch 1
    latency_batch_ms: float | None = None  # of a whole batch of `batch`
    batch: int | None = None
    threads: int | None = None
    device: str = "cpu"
    problem: str | None = None  # why a latency was not measured, where it was asked for


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What needs no network, beside those that do: better than nothing is better than this."""

    label: str
    score_test: float  # mean over the test part, as those of the rows
    metric: float  # of the test part as a whole


@dataclass(frozen=True, kw_only=True)
class Row:
    """One architecture. Scores are of the task's kind, shares (0 to 1) or numbers, and means over the test part
    and the seeds that finished.
    """

    label: str
    arch: str
    rank: int | None = None  # 1 + how many are significantly better; None: nothing finished
    test: Interval | None = None  # the score on the test part; None: no seed finished
    tie: bool = False  # not significantly different from the leader
    to_leader: Difference | None = None  # this architecture minus the leader
    scores: Mapping[int, float] = field(default_factory=dict)  # seed -> test score
    metric: float | None = None  # of the test part as a whole (mean IoU, mAP), where scores are of single images
    score_val: float | None = None
    chance: float | None = None  # control only: expected score of these predictions if they knew nothing
    chance_high: float | None = None  # control only: where such a score lies below in 97.5 % of cases
    at_chance: bool | None = None  # control only: not significantly above chance, corrected for the number of rows
    cost: Cost | None = None
    fit_time: float | None = None  # seconds of training, mean over seeds
    pred_time: float | None = None  # seconds to score the whole test part
    peak_memory: int | None = None  # bytes above the start of training, the largest of the seeds
    samples_seen: int | None = None
    failures: Mapping[int, str] = field(default_factory=dict)  # seed -> reason

    @property
    def score_test(self) -> float | None:
        return None if self.test is None else self.test.mean

    @property
    def score_test_low(self) -> float | None:
        return None if self.test is None else self.test.low

    @property
    def score_test_high(self) -> float | None:
        return None if self.test is None else self.test.high

    @property
    def reason(self) -> str | None:
        """Why seeds are missing, in one sentence; None where all finished."""
        reasons = list(dict.fromkeys(self.failures.values()))
        if not reasons:
            return None
        which = "" if not self.scores else f"seed {', '.join(map(str, self.failures))}: "
        return which + "; ".join(reasons)

    def flat(self) -> dict[str, Any]:
        """The row as columns, in the words that users of AutoML leaderboards know."""
        cost, gap = self.cost, self.to_leader
        return {
            "rank": self.rank,
            "model": self.label,
            "arch": self.arch,
            "score_test": self.score_test,
            "score_test_low": self.score_test_low,
            "score_test_high": self.score_test_high,
            "tie_with_leader": self.tie,
            "difference_to_leader": gap and gap.mean,
            "difference_low": gap and gap.low,
            "difference_high": gap and gap.high,
            "p_adjusted": gap and gap.p_adjusted,
            "metric_test": self.metric,
            "score_val": self.score_val,
            "params": cost and cost.params,
            "macs": cost and cost.macs,
            "input_size": cost and "x".join(map(str, cost.input_size)),
            "latency_ms": cost and cost.latency_ms,
            "latency_batch_ms": cost and cost.latency_batch_ms,
            "latency_batch": cost and cost.batch,
            "latency_threads": cost and cost.threads,
            "fit_time": self.fit_time,
            "pred_time": self.pred_time,
            "peak_memory": self.peak_memory,
            "samples_seen": self.samples_seen,
            "seeds": " ".join(map(str, self.scores)),
            "scores": " ".join(f"{score:.6f}" for score in self.scores.values()),
            "failure": self.reason,
        }


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Rows in order of their score, failures last."""

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]  # every pair once
    budget: str
    seeds: tuple[int, ...]
    level: float
    data: Mapping[str, Any]
    machine: Mapping[str, Any]
    method: tuple[str, ...]
    task: str = "image-classification"
    baselines: tuple[Baseline, ...] = ()
    notes: tuple[str, ...] = ()
    control: str | None = None
    interrupted: bool = False
    path: Path | None = None
    report: Path | None = None

    @property
    def leader(self) -> Row | None:
        return next((row for row in self.rows if row.test is not None), None)

    @property
    def exit_code(self) -> int:
        """0 all finished, 1 none did, 3 some failed, 130 interrupted (and saved)."""
        if self.interrupted:
            return 130
        if self.leader is None:
            return 1
        return 3 if any(row.failures for row in self.rows) else 0

    @property
    def headline(self) -> str:
        """Who won and by how much, or that it is a tie, in plain words."""
        finished = [row for row in self.rows if row.test is not None]
        if not finished:
            return "No run finished, so there is nothing to compare."
        if self.control:
            return _control_headline(finished)
        leader = finished[0]
        kind = self.kind
        score = score_text(kind, leader.score_test) + ("" if kind.classification else f" {kind.sample_name}")
        if len(finished) == 1:
            return f"{leader.label} scores {score}; nothing else finished to compare it with."
        tied = [row.label for row in finished[1:] if row.tie]
        if len(tied) == len(finished) - 1:
            them = _listed([leader.label, *tied])
            best = "lowest" if kind.lower_is_better else "highest"
            return f"A tie: {them} cannot be told apart on this test part; {leader.label} is {best} at {score}."
        if tied:
            return f"{leader.label} leads with {score}, but {_listed(tied)} cannot be told apart from it."
        gap = finished[1].to_leader
        if gap is None:
            return f"{leader.label} wins with {score}, ahead of the rest."
        points, apart = (" points" if kind.share else ""), bare_score(kind, abs(gap.mean))
        if kind.lower_is_better:
            return f"{leader.label} wins with {score}, {apart}{points} below {finished[1].label}."
        return f"{leader.label} wins with {score}, {apart}{points} ahead of {finished[1].label}."

    @property
    def kind(self) -> Kind:
        return KINDS[self.task]

    @property
    def latency_basis(self) -> str | None:
        """Where and with how many threads latency was measured, row by row where they differ; None: it was not."""
        rows: dict[str, list[str]] = {}
        for row in self.rows:
            if row.cost is not None and row.cost.latency_ms is not None:
                count = row.cost.threads
                basis = f"{row.cost.device}, {count} thread{'s' if count != 1 else ''}"
                rows.setdefault(basis, []).append(row.label)
        if len(rows) < 2:
            return next(iter(rows), None)
        return "; ".join(f"{basis} ({', '.join(labels)})" for basis, labels in rows.items())

    def to_dict(self) -> dict[str, Any]:
        rows = []
        for row in self.rows:
            fields = dataclasses.asdict(row)
            fields |= {"score_test": row.score_test, "reason": row.reason}
            fields["scores"] = {str(seed): score for seed, score in row.scores.items()}
            fields["failures"] = {str(seed): reason for seed, reason in row.failures.items()}
            rows.append(fields)
        return {
            "format": FORMAT,
            "headline": self.headline,
            "task": self.task,
            "metric": f"{'top-1 accuracy' if self.kind.classification else self.kind.sample_name} on the test part",
            "level": self.level,
            "budget": self.budget,
            "seeds": list(self.seeds),
            "control": self.control,
            "interrupted": self.interrupted,
            "rows": rows,
            "baselines": [dataclasses.asdict(baseline) for baseline in self.baselines],
            "differences": [dataclasses.asdict(difference) for difference in self.differences],
            "data": dict(self.data),
            "machine": dict(self.machine),
            "notes": list(self.notes),
            "method": list(self.method),
        }

    def to_csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(Row(label="", arch="").flat()), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row.flat() for row in self.rows)
        return text.getvalue()

    def save(self, folder: Path) -> None:
        """Write leaderboard.csv and leaderboard.json."""
        write_text(folder / "leaderboard.csv", self.to_csv())
        write_json(folder / "leaderboard.json", self.to_dict())


def leaderboard_table(board: Leaderboard) -> Group:
    """The board for a terminal: the headline, the table, and below it what limits it and who failed."""
    kind = board.kind
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("#", no_wrap=True)
    table.add_column("model", overflow="fold")
    scores = ("score", f"{100 * board.level:.0f} % interval", "to leader")
    whole = () if kind.classification else (kind.metric_name,)
    for name in (*scores, *whole, "params", "MACs", "latency", "fit time"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in board.rows:
        name = Text(row.label + (" *" if row.failures and row.scores else ""))
        if row.test is None:
            table.add_row("-", name, Text("failed" if row.failures else "not run", style="red"))
            continue
        cost, gap = row.cost, row.to_leader
        lead = "leads" if row is board.leader else "tie, no common seed"
        table.add_row(
            str(row.rank),
            name,
            score_text(kind, row.test.mean),
            f"{bare_score(kind, row.test.low)}-{bare_score(kind, row.test.high)}",
            lead if gap is None else difference_text(kind, gap.mean) + (" tie" if row.tie else ""),
            *((score_text(kind, row.metric),) if whole else ()),
            quantity(cost.params) if cost else "",
            quantity(cost.macs) if cost else "",
            milliseconds(cost.latency_ms) if cost else "",
            duration(row.fit_time),
        )
    for baseline in board.baselines:
        scores = (score_text(kind, baseline.score_test), "", "", score_text(kind, baseline.metric))
        table.add_row("-", Text(baseline.label, style="dim"), *scores, "", "", "", "")
    below = Text("\n" + "\n".join(_below(board)), style="dim")
    return Group(Text(f"{board.headline}\n", style="bold"), table, below)


def _below(board: Leaderboard) -> list[str]:
    """What the numbers mean and what is missing, a line each."""
    seeds = len(board.seeds)
    what = "" if board.kind.classification else f" are {board.kind.sample_name}"
    what += ", lower is better" if board.kind.lower_is_better else ""
    basis = f"Test scores{what}; budget {board.budget} each, {seeds} seed{'s' if seeds > 1 else ''}"
    if board.latency_basis:
        basis += f"; latency of one {board.kind.unit} on {board.latency_basis}"
    lines = [basis]
    if max(len(row.scores) for row in board.rows) == 1:
        lines.append("One seed at most: intervals cover the choice of test samples, not how another seed would do.")
    lines += [f"{'* ' if row.scores else ''}{row.label}: {row.reason}" for row in board.rows if row.failures]
    return [*lines, *board.notes]


def _control_headline(rows: list[Row]) -> str:
    off = [row.label for row in rows if not row.at_chance]
    if off:
        return (
            f"Control failed: with shuffled labels {_listed(off)} should score at chance, not above: there is a leak."
        )
    return "Control passed: with shuffled labels every architecture scores at chance."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
