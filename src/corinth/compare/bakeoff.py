"""The bake-off: several architectures, one budget, several seeds, the same splits; an honest board at the end."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corinth.compare import jobs
from corinth.compare.board import make_board
from corinth.compare.leaderboard import Cost, Leaderboard
from corinth.compare.plan import Plan, check_plan, claim_folder, make_plan
from corinth.compare.report import write_report
from corinth.data import open_data
from corinth.data.dataset import DataSet
from corinth.data.opening import OPTIONS, refuse_options
from corinth.data.preflight import nothing_in, preflight
from corinth.data.sequences.forecast import ForecastSource
from corinth.errors import DataError, UsageError
from corinth.tasks.kinds import KINDS
from corinth.training import Reporter
from corinth.training.interrupts import Stop, stop_on_signal

LATENCY_BATCH, DENSE_LATENCY_BATCH = 64, 8  # images; the second of networks that answer for places in large ones


def compare(
    data: DataSet | str,
    models: Sequence[str] | str,
    *,
    budget: str = "20ep",
    seeds: int | Iterable[int] = 3,
    output: str | Path | None = None,
    control: str | None = None,
    recipes: Mapping[str, Mapping[str, Any]] | None = None,
    overrides: Mapping[str, Any] | None = None,
    resume: bool = True,
    latency: bool = True,
    latency_batch: int | None = None,
    report: bool = True,
    reporter: Reporter | None = None,
) -> Leaderboard:
    """Train every model with every seed under one budget, score the test part once each, and rank them.

    `models` are registered names, or `label=name` to give one architecture several lines. Each is trained by its
    own recipe, changed by `overrides` (for all) and `recipes[label]` (for one). `seeds` is how many, or which.
    `control="shuffled-labels"` permutes the labels of the training and validation parts, by seed: all should score at
    chance.
    `latency_batch` images go through a network together when its latency is measured besides that of one image; by
    default 64, and 8 where networks answer for every place of large images.
    A run that fails becomes a row with its reason. An interrupted comparison is saved, and the same call goes on
    with it, inside the run where it stopped. `output` defaults to runs/<date>-compare-<data>. Returns the board,
    with leaderboard.csv, leaderboard.json and report.html in its `path`. Raises `UsageError` for a wrong name or
    option and `DataError` for data that cannot be used, before anything is trained.
    """
    if latency_batch is not None and (not isinstance(latency_batch, int) or latency_batch < 1):
        raise UsageError(f"latency_batch {latency_batch!r} is not valid; it must be a whole number from 1")
    if isinstance(data, str):
        data = open_data(data, **{key: value for key, value in (overrides or {}).items() if key in OPTIONS})
    else:
        refuse_options(overrides or {})
    if len(data.positions("test")) < 2:
        raise DataError(f"{data.name} has no test part to compare on; give it one, or a test_share above 0")
    if not data.scorable("test"):
        raise DataError(
            f"{data.name}: the test part {nothing_in(data)}, so nothing can be compared on it; declare another"
        )
    if isinstance(data.source, ForecastSource) and len(data.source.apart(data.positions("test"))) < 2:
        raise DataError(
            f"{data.name}: the test part has one window of {data.source.horizon} steps to forecast, and to compare "
            "takes two that have none in common; take a shorter horizon or a larger test_share"
        )
    plan = make_plan(data, models, budget=budget, seeds=seeds, control=control, recipes=recipes, overrides=overrides)
    data = _looked_at(data, reporter)
    folder = Path(output) if output is not None else _default_folder(data)
    if any(jobs.finished(folder, c.label, seed) is None for c in plan.contenders for seed in plan.seeds):
        check_plan(plan, data)
    claim_folder(folder, plan, resume=resume)

    batch = latency_batch or (DENSE_LATENCY_BATCH if KINDS[data.task].dense else LATENCY_BATCH)
    done = _execute(plan, data, folder, measure=latency, batch=batch, reporter=reporter)
    board = make_board(plan, data, folder, **vars(done))
    board.save(folder)
    if report and board.leader is not None:
        written, why_not = write_report(board, data, folder)
        notes = (*board.notes, why_not) if why_not is not None else board.notes
        board = dataclasses.replace(board, report=written, notes=notes)
    return board


def _looked_at(data: DataSet, reporter: Reporter | None) -> DataSet:
    """The data after a preflight: an error in it stops the comparison, a warning is said and goes on the report."""
    found = preflight(data)
    found.refuse_errors()
    warnings = tuple(f"warning: {finding.text}" for finding in found.findings if finding.severity == "warning")
    if reporter is not None:
        for text in warnings:
            reporter.message(text)
    return dataclasses.replace(data, notes=(*data.notes, *warnings))


@dataclass
class _Done:
    """What came of a comparison, beside what its run folders hold."""

    failures: dict[tuple[str, int], str] = field(default_factory=dict)  # (label, seed) -> reason
    costs: dict[str, Cost] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what could not be measured
    interrupted: bool = False


def _execute(plan: Plan, data: DataSet, folder: Path, *, measure: bool, batch: int, reporter: Reporter | None) -> _Done:
    """Train and score what is not finished yet, then measure costs, until all is done or a stop is asked."""
    done = _Done()
    with stop_on_signal() as stop:
        try:
            _run_all(plan, data, folder, done, stop, reporter)
            _measure_all(plan, folder, done, stop, measure=measure, batch=batch)
        except (KeyboardInterrupt, jobs.Interrupted):
            done.interrupted = True
        done.interrupted |= stop.asked
    return done


def _run_all(plan: Plan, data: DataSet, folder: Path, done: _Done, stop: Stop, reporter: Reporter | None) -> None:
    """Seeds are the outer loop, so that an interrupted comparison has treated all alike."""
    everything = [(seed, contender) for seed in plan.seeds for contender in plan.contenders]
    for number, (seed, contender) in enumerate(everything, start=1):
        if jobs.finished(folder, contender.label, seed) is not None:
            continue
        if stop.asked:
            return
        if reporter is not None:
            reporter.message(f"{contender.label}, seed {seed} (run {number} of {len(everything)})")
        try:
            jobs.run(contender, seed, data.with_shuffled_labels(seed) if plan.control else data, folder, reporter)
        except jobs.FAILURES as error:
            done.failures[contender.label, seed] = jobs.reason(error)
            if reporter is not None:
                reporter.message(f"{contender.label}, seed {seed} failed: {jobs.reason(error)}")


def _measure_all(plan: Plan, folder: Path, done: _Done, stop: Stop, *, measure: bool, batch: int) -> None:
    """After all trainings, one after the other, so that the machine is in the same state for each.

    The scores are there, and a cost that cannot be measured must not take them away.
    """
    for contender in plan.contenders:
        if stop.asked:
            return
        label = contender.label
        seed = next((s for s in plan.seeds if jobs.finished(folder, label, s)), None)
        if seed is None:
            continue
        try:
            done.costs[label] = found = jobs.cost(contender, seed, folder, measure=measure, batch=batch)
        except jobs.FAILURES as error:
            done.notes.append(f"{label}: its cost could not be measured: {jobs.reason(error)}")
            continue
        if found.problem is not None:
            done.notes.append(f"{label}: {found.problem}")


def _default_folder(data: DataSet) -> Path:
    return Path("runs") / f"{datetime.date.today().isoformat()}-compare-{data.name}"
