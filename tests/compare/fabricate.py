"""Comparisons that were never trained: run folders with made-up predictions, for what comes after training."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from corinth.compare import jobs
from corinth.compare.board import make_board
from corinth.compare.leaderboard import Cost, Leaderboard
from corinth.compare.plan import claim_folder, make_plan
from corinth.data import ArraySource, ImageData


def image_data(
    classes: tuple[str, ...] = ("ant", "bee", "cat", "dog"), samples: int = 400, seed: int = 0, side: int = 12
) -> ImageData:
    """Noise with labels; a quarter is the test part."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(samples) % len(classes))
    images = rng.integers(0, 256, (samples, side, side), dtype=np.uint8)
    splits = {name: np.arange(k, samples, 4) for k, name in enumerate(("test", "val"))}
    splits["train"] = np.sort(np.concatenate([np.arange(2, samples, 4), np.arange(3, samples, 4)]))
    return ImageData(
        name="noise",
        spec="noise",
        source=ArraySource(images, labels, classes, "noise"),
        splits=splits,
        declared_splits=(),
        notes=("parts are a stratified random split, seed 0",),
        native_size=(side, side),
        channels=1,
        fingerprint=f"{seed:064d}",
    )


def probabilities(target: np.ndarray, classes: int, accuracy: float, rng: np.random.Generator) -> np.ndarray:
    """(N, K), right with about `accuracy`, more or less sure of it."""
    called = np.where(rng.random(len(target)) < accuracy, target, rng.integers(0, classes, len(target)))
    probs = rng.random((len(target), classes)) * 0.4 / classes
    probs[np.arange(len(target)), called] += rng.uniform(0.3, 0.9, len(target))
    return probs / probs.sum(axis=1, keepdims=True)


def finish_run(folder: Path, data: ImageData, label: str, seed: int, accuracy: float, epochs: int = 12) -> None:
    """What a finished run leaves for the board."""
    rng = np.random.default_rng([seed, *label.encode()])
    index = data.splits["test"]
    target = data.source.labels[index]
    probs = probabilities(target, data.num_classes, accuracy + rng.normal() * 0.01, rng).astype(np.float32)
    run = jobs.run_folder(folder, label, seed)
    run.mkdir(parents=True)
    correct = (probs.argmax(axis=1) == target).astype(float)
    np.savez(run / jobs.PREDICTIONS, index=index, score=correct, target=target, probs=probs)
    score = float(correct.mean())
    result: dict[str, Any] = {"label": label, "seed": seed, "score_test": score, "score_val": accuracy}
    result |= {"fit_time": 20 + 5 * rng.random(), "pred_time": 0.05, "samples_seen": 12000, "peak_memory": 180 << 20}
    (run / jobs.RESULT).write_text(json.dumps(result))
    rows = []
    for epoch in range(1, epochs + 1):
        val = accuracy * (1 - np.exp(-epoch / 3)) + 0.01 * rng.normal()
        rows.append({"epoch": epoch, "samples": 1000 * epoch, "seconds": 1.8 * epoch, "val_top1": val})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def board(
    folder: Path,
    data: ImageData,
    accuracies: dict[str, float],
    *,
    seeds: int = 3,
    failures: dict[tuple[str, int], str] | None = None,
    control: str | None = None,
    costs: bool = True,
    unlike: dict[str, dict[str, Any]] | None = None,
) -> Leaderboard:
    """A board as `compare` makes it, from runs with about these accuracies; labels may be `label=arch`.

    `unlike` changes the fabricated cost of some labels.
    """
    plan = make_plan(
        data, list(accuracies), budget="12ep", seeds=seeds, control=control, recipes=None, overrides={"threads": 1}
    )
    claim_folder(folder, plan, resume=True)
    measured = {}
    for number, (name, accuracy) in enumerate(accuracies.items()):
        label = name.partition("=")[0]
        for seed in plan.seeds:
            if (label, seed) not in (failures or {}):
                finish_run(folder, data, label, seed, accuracy)
        measured[label] = Cost(
            params=30_000 * 3**number,
            macs=400_000 * 5**number,
            input_size=data.native_size,
            latency_ms=0.2 * 2.3**number,
            latency_batch_ms=2.2 * 2.8**number,
            batch=64,
            threads=1,
        )
        measured[label] = dataclasses.replace(measured[label], **(unlike or {}).get(label, {}))
    made = make_board(plan, data, folder, failures=failures or {}, costs=measured if costs else {}, interrupted=False)
    made.save(folder)
    return made
