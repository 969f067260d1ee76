"""From what finished runs left to the leaderboard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corinth.compare import jobs
from corinth.compare.control import against_chance
from corinth.compare.leaderboard import Baseline, Cost, Leaderboard, Row
from corinth.compare.plan import Plan
from corinth.compare.statistics import Difference, method_text, paired_differences, pool_seeds, score_interval
from corinth.data.collect import plural
from corinth.data.dataset import DataSet
from corinth.data.measured import Measured
from corinth.data.sequences.baselines import forecasters
from corinth.data.sequences.forecast import ForecastSource
from corinth.data.sequences.forecast_encoding import ForecastEncoding
from corinth.data.splits import groups_of
from corinth.errors import CorinthError
from corinth.predictor.forecast_scores import score, which_need_none
from corinth.report.machine import machine_facts
from corinth.report.values import training_mean
from corinth.tasks.kinds import KINDS, Kind

LEVEL = 0.95
Scores = dict[str, tuple[list[int], np.ndarray]]  # label -> its seeds (S), 1 where right (S, N)
Differences = Mapping[tuple[str, str], Difference]


def make_board(
    plan: Plan,
    data: DataSet,
    folder: Path,
    *,
    failures: Mapping[tuple[str, int], str],
    costs: Mapping[str, Cost],
    notes: Sequence[str] = (),
    interrupted: bool,
) -> Leaderboard:
    """Rank what has finished in `folder`. `failures` maps (label, seed) to the reason; `notes` are said beside it."""
    labels = [contender.label for contender in plan.contenders]
    results = {
        label: [r for seed in plan.seeds if (r := jobs.finished(folder, label, seed)) is not None] for label in labels
    }
    answers = {label: [jobs.answers(folder, label, r.seed) for r in results[label]] for label in labels}
    check_aligned(answers)
    scores: Scores = {
        label: ([r.seed for r in results[label]], np.stack([a.score for a in answers[label]]))
        for label in labels
        if results[label]
    }
    kind = KINDS[data.task]
    sign = 1 if kind.lower_is_better else -1
    order = sorted(scores, key=lambda label: sign * scores[label][1].mean())  # stable: equals stay as they were named
    pairs, pool = paired_differences(scores, level=LEVEL), pool_seeds(matrix for _, matrix in scores.values())
    archs = {contender.label: contender.arch for contender in plan.contenders}
    rows = []
    for label in [*order, *(label for label in labels if label not in order)]:
        base: dict[str, Any] = {"label": label, "arch": archs[label]}
        base["failures"] = {seed: why for (failed, seed), why in failures.items() if failed == label}
        if label not in scores:
            rows.append(Row(**base))
            continue
        if plan.control:
            base |= _against_chance(answers[label], data, rows=len(order))
        base |= _verdict(label, order, pairs, kind) | _spent(results[label])
        test = score_interval(scores[label][1], pool, level=LEVEL, share=kind.share)
        rows.append(Row(**base, test=test, cost=costs.get(label)))
    seeds, samples = max((matrix.shape for _, matrix in scores.values()), default=(0, 0))
    method: Sequence[str] = ()
    if seeds:
        validated = data.scorable("val")
        method = method_text(
            seeds=seeds,
            samples=samples,
            comparisons=len(pairs) // 2,
            validated=validated,
            level=LEVEL,
            sample_score=None if kind.classification else kind.sample_name,
            share=kind.share,
        )
    baselines = _baselines(data)
    notes = (*_behind(baselines, scores[order[0]][1].mean() if order else None, kind), *notes)
    return Leaderboard(
        rows=tuple(rows),
        differences=tuple(pairs[a, b] for i, a in enumerate(order) for b in order[i + 1 :] if (a, b) in pairs),
        budget=plan.budget,
        seeds=plan.seeds,
        level=LEVEL,
        task=data.task,
        baselines=baselines,
        data=_data_facts(data),
        machine=machine_facts(threads={c.recipe.threads for c in plan.contenders}),
        method=tuple(method),
        notes=(*_notes(plan, data, sum(map(len, results.values())), interrupted), *notes),
        control=plan.control,
        interrupted=interrupted,
        path=folder,
    )


def check_aligned(answers: Mapping[str, Sequence[jobs.Answers]]) -> None:
    """Every run must have answered the same samples, or pairing them would mean nothing."""
    everyone = [(label, one) for label, found in answers.items() for one in found]
    for label, one in everyone:
        first = everyone[0][1]
        same = np.array_equal(one.index, first.index) and (
            one.target is None or first.target is None or np.array_equal(one.target, first.target)
        )
        if not same:
            raise CorinthError(f"{label} was scored on other test samples than the rest; start a new comparison")


def _verdict(label: str, order: Sequence[str], pairs: Differences, kind: Kind) -> dict[str, Any]:
    alpha = 1 - LEVEL
    above = [pairs.get((other, label)) for other in order]
    to_leader = pairs.get((label, order[0]))
    return {
        "rank": 1 + sum(d is not None and kind.better(d.mean) and d.p_adjusted < alpha for d in above),
        "tie": label != order[0] and (to_leader is None or to_leader.p_adjusted >= alpha),  # untested is not beaten
        "to_leader": to_leader,
    }


def _spent(results: Sequence[jobs.Result]) -> dict[str, Any]:
    peaks = [r.peak_memory for r in results if r.peak_memory is not None]
    vals = [r.score_val for r in results if r.score_val is not None]
    metrics = [r.metric for r in results if r.metric is not None]
    return {
        "scores": {r.seed: r.score_test for r in results},
        "score_val": float(np.mean(vals)) if vals else None,
        "metric": float(np.mean(metrics)) if metrics else None,
        "fit_time": float(np.mean([r.fit_time for r in results])),
        "pred_time": float(np.mean([r.pred_time for r in results])),
        "peak_memory": max(peaks, default=None),
        "samples_seen": round(float(np.mean([r.samples_seen for r in results]))),
    }


def _against_chance(answers: Sequence[jobs.Answers], data: DataSet, *, rows: int) -> dict[str, Any]:
    labels = [a.labels for a in answers]
    predicted = np.stack([called for _, called in labels])
    found = against_chance(predicted, labels[0][0], data.num_classes, alpha=(1 - LEVEL) / rows)
    return {"chance": found.expected, "chance_high": found.high, "at_chance": found.passed}


def _notes(plan: Plan, data: DataSet, done: int, interrupted: bool) -> tuple[str, ...]:
    notes = []
    if interrupted:
        total = len(plan.seeds) * len(plan.contenders)
        notes.append(f"Interrupted after {done} of {total} runs; the same command goes on.")
    if len(plan.seeds) == 2:
        notes.append("Two seeds leave one degree of freedom: only large differences show; three or more are better.")
    if plan.control:
        notes.append(
            "Control: the labels of the training and validation parts are shuffled, anew for every seed, so chance is "
            "the right answer. Networks still call alike images alike and get whole classes right or wrong by luck, so "
            "scores stray further from chance than independent guesses would."
        )
        if data.num_classes < 4 and len(plan.seeds) < 3:
            notes.append(f"With {data.num_classes} classes the control needs at least three seeds to notice a leak.")
    if isinstance(data.source, ForecastSource):
        rows = data.positions("test")
        notes.append(
            "Windows one step apart share nearly all their steps and are no samples of their own: scores and intervals "
            f"are of the {len(data.source.apart(rows)):,} test windows that have none to forecast in common, the MSE "
            f"beside them of all {len(rows):,}. "
            "Neighbours are still alike, and intervals speak of this stretch of time, not of another year."
        )
    if names := groups_of(data.source):
        count = len({names[i] for i in data.positions("test")})
        several = "1 group" if count == 1 else f"{count} groups"
        notes.append(
            f"The test {plural(data.source.unit)} are of {several}. Intervals and ties take them as drawn one by "
            "one, so they speak of other samples of the same groups, not of another group."
        )
    return tuple(notes)


def _baselines(data: DataSet) -> tuple[Baseline, ...]:
    """Of regression the mean of the training part; of forecasting what needs no network."""
    if isinstance(data.source, ForecastSource):
        return _forecast_baselines(data, data.source)
    if not isinstance(data.source, Measured):
        return ()
    found = training_mean(data.source, data.positions("train"), data.positions("test"))
    return (Baseline(label=found.name, score_test=found.mae, metric=found.rmse),)


def _behind(baselines: Sequence[Baseline], leader: float | None, kind: Kind) -> list[str]:
    """A note of those that no architecture is better than."""
    ahead = [b.label for b in baselines if leader is not None and kind.better(b.score_test - leader)]
    if not ahead:
        return []
    return [f"No architecture here is as good as {which_need_none(ahead)}."]


def _forecast_baselines(data: DataSet, source: ForecastSource) -> tuple[Baseline, ...]:
    """Scored as the networks are, on windows that have no step in common, and on all of them."""
    rows, found = data.positions("test"), []
    encoding = ForecastEncoding.of_training(source, data.positions("train"))
    for name, forecast in forecasters(source, data.splits).items():
        scored = score(source, encoding, rows, forecast)
        mean = float(scored.by_window[np.searchsorted(rows, source.apart(rows))].mean())
        found.append(Baseline(label=name, score_test=mean, metric=scored.mse))
    return tuple(sorted(found, key=lambda baseline: baseline.score_test))


def _per_class(data: DataSet) -> list[int] | None:
    """Samples of each class; None where a sample has no class of its own."""
    if not KINDS[data.task].classification:
        return None
    return np.bincount(data.labels("all"), minlength=data.num_classes).tolist()


def _windows_apart(data: DataSet) -> dict[str, int]:
    """Of forecasting, how many test windows are scored."""
    if not isinstance(data.source, ForecastSource):
        return {}
    return {"windows_apart": len(data.source.apart(data.positions("test")))}


def _data_facts(data: DataSet) -> dict[str, Any]:
    return {
        "name": data.name,
        "spec": data.spec,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "samples": len(data),
        "samples_per_class": _per_class(data),
        "splits": {split: len(positions) for split, positions in data.splits.items()},
        "unit": data.source.unit,
        "description": data.describe(),
        **data.facts(),
        **_windows_apart(data),
        "notes": list(data.notes),
    }
