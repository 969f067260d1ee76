"""The bake-off: several architectures, one budget, several seeds, the same splits; an honest board at the end."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corinth.compare import jobs
from corinth.compare.board import make_board
from corinth.compare.leaderboard import Cost, Leaderboard
from corinth.compare.plan import Plan, claim_folder, make_plan
from corinth.compare.report import write_report
from corinth.data import ImageData, open_data
from corinth.data.images import OPTIONS, refuse_options
from corinth.data.preflight import preflight
from corinth.errors import DataError, UsageError
from corinth.training import Reporter
from corinth.training.interrupts import stop_on_signal


def compare(
    data: ImageData | str,
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
    latency_batch: int = 64,
    report: bool = True,
    reporter: Reporter | None = None,
) -> Leaderboard:
    """Train every model with every seed under one budget, score the test part once each, and rank them.

    `models` are registered names, or `label=name` to give one architecture several lines. Each is trained by its
    own recipe, changed by `overrides` (for all) and `recipes[label]` (for one). `seeds` is how many, or which.
    `control="shuffled-labels"` permutes the labels of the training and validation parts, by seed: all should score at
    chance.
    A run that fails becomes a row with its reason. An interrupted comparison is saved, and the same call goes on
    with it, inside the run where it stopped. `output` defaults to runs/<date>-compare-<data>. Returns the board,
    with leaderboard.csv, leaderboard.json and report.html in its `path`. Raises `UsageError` for a wrong name or
    option and `DataError` for data that cannot be used, before anything is trained.
    """
    if latency_batch < 1:
        raise UsageError(f"latency_batch {latency_batch!r} is not valid; it must be a whole number from 1")
    if isinstance(data, str):
        data = open_data(data, **{key: value for key, value in (overrides or {}).items() if key in OPTIONS})
    else:
        refuse_options(overrides or {})
    if len(data.positions("test")) < 2:
        raise DataError(f"{data.name} has no test part to compare on; give it one, or a test_share above 0")
    plan = make_plan(data, models, budget=budget, seeds=seeds, control=control, recipes=recipes, overrides=overrides)
    data = _looked_at(data, reporter)
    folder = Path(output) if output is not None else _default_folder(data)
    claim_folder(folder, plan, resume=resume)

    failures, interrupted = _run_all(plan, data, folder, reporter)
    costs: dict[str, Cost] = {}
    notes: list[str] = []
    if not interrupted:
        try:
            costs, notes = _costs(plan, folder, measure=latency, batch=latency_batch)
        except KeyboardInterrupt:
            interrupted = True
    board = make_board(plan, data, folder, failures=failures, costs=costs, notes=notes, interrupted=interrupted)
    board.save(folder)
    if report and board.leader is not None:
        written, why_not = write_report(board, data, folder)
        board = dataclasses.replace(board, report=written)
        if why_not is not None:
            board = dataclasses.replace(board, notes=(*board.notes, why_not))
    return board


def _looked_at(data: ImageData, reporter: Reporter | None) -> ImageData:
    """The data after a preflight: an error in it stops the comparison, a warning is said and goes on the report."""
    findings = preflight(data).findings
    if errors := [finding.text for finding in findings if finding.severity == "error"]:
        raise DataError(f"{data.spec}: {'; '.join(errors)}")
    warnings = tuple(f"warning: {finding.text}" for finding in findings if finding.severity == "warning")
    if reporter is not None:
        for text in warnings:
            reporter.message(text)
    return dataclasses.replace(data, notes=(*data.notes, *warnings))


def _run_all(
    plan: Plan, data: ImageData, folder: Path, reporter: Reporter | None
) -> tuple[dict[tuple[str, int], str], bool]:
    """Train and score what is not finished yet; returns the failures (label, seed) -> reason, and if interrupted.

    Seeds are the outer loop, so that an interrupted comparison has treated all alike.
    """
    failures: dict[tuple[str, int], str] = {}
    everything = [(seed, contender) for seed in plan.seeds for contender in plan.contenders]
    with stop_on_signal() as stop:
        for number, (seed, contender) in enumerate(everything, start=1):
            if jobs.finished(folder, contender.label, seed) is not None:
                continue
            if stop.asked:
                return failures, True
            if reporter is not None:
                reporter.message(f"{contender.label}, seed {seed} (run {number} of {len(everything)})")
            try:
                jobs.run(contender, seed, data.with_shuffled_labels(seed) if plan.control else data, folder, reporter)
            except (KeyboardInterrupt, jobs.Interrupted):
                return failures, True
            except jobs.FAILURES as error:
                failures[contender.label, seed] = jobs.reason(error)
                if reporter is not None:
                    reporter.message(f"{contender.label}, seed {seed} failed: {jobs.reason(error)}")
    return failures, False


def _costs(plan: Plan, folder: Path, *, measure: bool, batch: int) -> tuple[dict[str, Cost], list[str]]:
    """After all trainings, one after the other, so that the machine is in the same state for each.

    Also says what could not be measured: the scores are there, and a cost that is not must not take them away.
    """
    costs, notes = {}, []
    for contender in plan.contenders:
        seed = next((s for s in plan.seeds if jobs.finished(folder, contender.label, s)), None)
        if seed is None:
            continue
        try:
            found = jobs.cost(contender, seed, folder, measure=measure, batch=batch)
        except jobs.FAILURES as error:
            notes.append(f"{contender.label}: its cost could not be measured: {jobs.reason(error)}")
            continue
        costs[contender.label] = found
        if found.problem is not None:
            notes.append(f"{contender.label}: {found.problem}")
    return costs, notes


def _default_folder(data: ImageData) -> Path:
    return Path("runs") / f"{datetime.date.today().isoformat()}-compare-{data.name}"
