"""The bake-off: several architectures, one budget, several seeds, the same splits; an honest board at the end."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corinth.compare import jobs
from corinth.compare.control import against_chance
from corinth.compare.leaderboard import Cost, Leaderboard, Row
from corinth.compare.plan import Plan, claim_folder, make_plan
from corinth.compare.report import write_report
from corinth.compare.statistics import method_text, paired_differences, score_interval
from corinth.data import ImageData, open_data
from corinth.errors import CorinthError
from corinth.report.machine import machine_facts
from corinth.training import Reporter

LEVEL = 0.95
# what `open_data` takes of a recipe
_DATA_OPTIONS = ("split_seed", "val_share", "test_share", "path_column", "label_column")


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
    if isinstance(data, str):
        options = {key: value for key, value in (overrides or {}).items() if key in _DATA_OPTIONS}
        data = open_data(data, **options)
    plan = make_plan(data, models, budget=budget, seeds=seeds, control=control, recipes=recipes, overrides=overrides)
    folder = Path(output) if output is not None else _default_folder(data)
    claim_folder(folder, plan, resume=resume)

    failures, interrupted = _run_all(plan, data, folder, reporter)
    costs: dict[str, Cost] = {}
    if not interrupted:
        try:
            costs = _costs(plan, folder, measure=latency, batch=latency_batch)
        except KeyboardInterrupt:
            interrupted = True
    board = _board(plan, data, folder, failures, costs, interrupted)
    board.save(folder)
    if report and board.leader is not None:
        written, why_not = write_report(board, data, folder)
        notes = board.notes if why_not is None else (*board.notes, why_not)
        board = dataclasses.replace(board, report=written, notes=notes)
    return board


def _run_all(
    plan: Plan, data: ImageData, folder: Path, reporter: Reporter | None
) -> tuple[dict[tuple[str, int], str], bool]:
    """Train and score what is not finished yet; returns the failures (label, seed) -> reason, and if interrupted.

    Seeds are the outer loop, so that an interrupted comparison has treated all alike.
    """
    failures: dict[tuple[str, int], str] = {}
    everything = [(seed, contender) for seed in plan.seeds for contender in plan.contenders]
    for number, (seed, contender) in enumerate(everything, start=1):
        if jobs.finished(folder, contender.label, seed) is not None:
            continue
        if reporter is not None:
            reporter.message(f"{contender.label}, seed {seed} (run {number} of {len(everything)})")
        try:
            jobs.run(contender, seed, data.with_shuffled_labels(seed) if plan.control else data, folder, reporter)
        except (KeyboardInterrupt, jobs.Interrupted):
            return failures, True
        except (CorinthError, RuntimeError, MemoryError, ValueError, TypeError) as error:
            # Whatever a network cannot do with these data, the others still can: torch raises shape and memory
            # errors as RuntimeError, models and optimizers refuse options with ValueError and TypeError.
            failures[contender.label, seed] = reason(error)
            if reporter is not None:
                reporter.message(f"{contender.label}, seed {seed} failed: {reason(error)}")
    return failures, False


def reason(error: BaseException) -> str:
    """One sentence about why a run failed."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return "out of memory; a smaller batch_size or img_size may fit"
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if isinstance(error, CorinthError) else f"{type(error).__name__}: {text}"


def _costs(plan: Plan, folder: Path, *, measure: bool, batch: int) -> dict[str, Cost]:
    """After all trainings, one after the other, so that the machine is in the same state for each."""
    costs = {}
    for contender in plan.contenders:
        seed = next((s for s in plan.seeds if jobs.finished(folder, contender.label, s)), None)
        if seed is not None:
            recipe = contender.recipe
            costs[contender.label] = jobs.cost(
                folder,
                contender.label,
                seed,
                measure=measure,
                batch=batch,
                threads=recipe.threads,
                device=recipe.device,
            )
    return costs


def _board(
    plan: Plan,
    data: ImageData,
    folder: Path,
    failures: Mapping[tuple[str, int], str],
    costs: Mapping[str, Cost],
    interrupted: bool,
) -> Leaderboard:
    results = {
        c.label: [r for s in plan.seeds if (r := jobs.finished(folder, c.label, s)) is not None]
        for c in plan.contenders
    }
    answers = {label: [jobs.answers(folder, label, r.seed) for r in found] for label, found in results.items() if found}
    _check_aligned(answers)
    scores = {
        label: ([r.seed for r in results[label]], np.stack([a.correct for a in found]))
        for label, found in answers.items()
    }
    differences = paired_differences(scores, level=LEVEL)
    order = sorted(scores, key=lambda label: -scores[label][1].mean())  # stable: equals stay as they were named
    leader = order[0] if order else None
    with_leader = paired_differences(scores, leader=leader, level=LEVEL)
    alpha = 1 - LEVEL
    rows = []
    for contender in sorted(plan.contenders, key=lambda c: order.index(c.label) if c.label in order else len(order)):
        label = contender.label
        failed = {seed: why for (name, seed), why in failures.items() if name == label}
        if label not in scores:
            rows.append(Row(label=label, arch=contender.arch, failures=failed))
            continue
        above = [(with_leader if other == leader else differences).get((other, label)) for other in order]
        better = sum(1 for d in above if d is not None and d.mean > 0 and d.p_adjusted < alpha)
        to_leader = with_leader.get((label, leader))
        interval = score_interval(scores[label][1], level=LEVEL)
        found = results[label]
        rows.append(
            Row(
                label=label,
                arch=contender.arch,
                rank=1 + better,
                score_test=interval.mean,
                score_test_low=interval.low,
                score_test_high=interval.high,
                tie=to_leader is not None and to_leader.p_adjusted >= alpha,
                to_leader=to_leader,
                scores={r.seed: r.score_test for r in found},
                score_val=_mean([r.score_val for r in found]),
                cost=costs.get(label),
                fit_time=_mean([r.fit_time for r in found]),
                pred_time=_mean([r.pred_time for r in found]),
                peak_memory=max((r.peak_memory for r in found if r.peak_memory is not None), default=None),
                samples_seen=round(np.mean([r.samples_seen for r in found])),
                failures=failed,
                **(_against_chance(answers[label], data, len(order)) if plan.control else {}),
            )
        )
    seeds = max((len(found) for found in results.values()), default=0)
    samples = next((matrix.shape[1] for _, matrix in scores.values()), 0)
    return Leaderboard(
        rows=tuple(rows),
        differences=tuple(d for key, d in differences.items() if order.index(key[0]) < order.index(key[1])),
        budget=plan.budget,
        seeds=plan.seeds,
        level=LEVEL,
        data=_data_facts(data),
        machine=machine_facts(threads={c.recipe.threads for c in plan.contenders}),
        method=tuple(
            method_text(seeds=seeds, samples=samples, comparisons=len(with_leader) // 2, level=LEVEL) if scores else ()
        ),
        notes=_notes(plan, data, results, interrupted),
        control=plan.control,
        interrupted=interrupted,
        path=folder,
    )


def _check_aligned(answers: Mapping[str, Sequence[jobs.Answers]]) -> None:
    """Every run must have answered the same samples, or pairing them would mean nothing."""
    first = next((a for found in answers.values() for a in found), None)
    for label, found in answers.items():
        for one in found:
            if not np.array_equal(one.index, first.index) or not np.array_equal(one.target, first.target):
                raise CorinthError(f"{label} was scored on other test samples than the rest; start a new comparison")


def _against_chance(answers: Sequence[jobs.Answers], data: ImageData, rows: int) -> dict[str, Any]:
    predicted = np.stack([a.predicted for a in answers])
    found = against_chance(predicted, answers[0].target, data.num_classes, alpha=(1 - LEVEL) / rows)
    return {"chance": found.expected, "chance_high": found.high, "at_chance": found.passed}


def _notes(plan: Plan, data: ImageData, results: Mapping[str, list[jobs.Result]], interrupted: bool) -> tuple[str, ...]:
    notes = []
    if interrupted:
        done, total = sum(map(len, results.values())), len(plan.seeds) * len(plan.contenders)
        notes.append(f"Interrupted after {done} of {total} runs; the same command goes on.")
    if len(plan.seeds) == 2:
        notes.append(
            "Two seeds leave one degree of freedom, so only large differences can be told; three or more are better."
        )
    if plan.control:
        notes.append(
            "Control: the labels of the training and validation parts are shuffled, anew for every seed, so chance is the "
            "right answer. Networks still call alike images alike and get whole classes right or wrong by luck, so scores "
            "stray further from chance than independent guesses would."
        )
        if data.num_classes < 4 and len(plan.seeds) < 3:
            notes.append(f"With {data.num_classes} classes the control needs at least three seeds to notice a leak.")
    return tuple(notes)


def _data_facts(data: ImageData) -> dict[str, Any]:
    counts = np.bincount(data.source.labels, minlength=data.num_classes)
    return {
        "name": data.name,
        "spec": data.spec,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "images_per_class": counts.tolist(),
        "splits": {split: len(positions) for split, positions in data.splits.items()},
        "native_size": list(data.native_size),
        "channels": data.channels,
        "notes": list(data.notes),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _default_folder(data: ImageData) -> Path:
    return Path("runs") / f"{datetime.date.today().isoformat()}-compare-{data.name}"
