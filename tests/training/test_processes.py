"""Two processes over gloo do what one does at the same batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from caption_sets import write_labelled
from corinth.errors import UsageError
from corinth.training import train
from corinth.training.processes import Processes
from corinth.training.recipe import recipe_for
from corinth.training.run import new_folder, read_metrics
from sequence_sets import STEPS, cells, write_steps

FIELDS = {
    "arch": "lenet5",
    "data": "digits",
    "img_size": 16,
    "budget": "2ep",
    "batch_size": 64,
    "optimizer": "sgd",
    "lr": 0.05,
    "momentum": 0.9,
    "ema": 0.5,
    "clip_norm": 1.0,
    "accumulate": 2,
    "augmentation": {},
    "device": "cpu",
    "threads": 1,
}
WORKER = """
import os
import sys
from corinth import load_run, open_data
from corinth.training import train
run = train(output=sys.argv[1], **{fields!r})
if int(os.environ.get("RANK", "1")) == 0 and run.recipe.data == "digits":  # the others have left
    print(load_run(run.path).evaluate(open_data("digits")).score, file=sys.stderr)
print(run.reason, {{k: v for k, v in run.best.items() if k.startswith("val_")}})
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", ["image-classification", "sequence-regression", "frame-classification", "text-from-label"]
)
def test_two_processes_train_as_one(tmp_path: Path, task: str) -> None:
    """A network without batch norm; augmentation off, as each process augments its own share."""
    fields = FIELDS
    if task == "sequence-regression":
        table = write_steps(tmp_path / "cells.csv", cells(each=24))
        plain = {name: FIELDS[name] for name in ("clip_norm", "accumulate", "device", "threads")}
        options = {"hidden_size": 8, "drop_rate": 0.0}
        fields = {
            **plain,
            **STEPS,
            "arch": "gru",
            "data": str(table),
            "budget": "3ep",
            "batch_size": 8,
            "options": options,
        }
    if task == "frame-classification":  # each process has frames of its own number
        rng = np.random.default_rng(0)
        x, lengths = rng.normal(size=(48, 12)), rng.integers(2, 13, 48)
        arrays = {"x": x, "y": (x > 0).astype(int), "lengths": lengths}
        parts = {"train": slice(0, 40), "val": slice(40, 48)}  # whole batches
        named = {f"{name}_{part}": values[rows] for part, rows in parts.items() for name, values in arrays.items()}
        np.savez(tmp_path / "steps.npz", **named)
        plain = {name: FIELDS[name] for name in ("clip_norm", "accumulate", "device", "threads")}
        options = {"hidden_size": 8, "drop_rate": 0.0}
        fields = {**plain, "arch": "gru", "data": str(tmp_path / "steps.npz"), "budget": "3ep", "batch_size": 8}
        fields |= {"options": options, "test_share": 0.0}
    if task == "text-from-label":  # parts have different numbers of tokens
        plain = {name: FIELDS[name] for name in ("clip_norm", "accumulate", "device", "threads")}
        texts = {"data": str(write_labelled(tmp_path / "texts.tsv")), "task": task, "budget": "2ep", "batch_size": 8}
        options = {"hidden_size": 8, "embed_dim": 8, "drop_rate": 0.0}
        fields = {**plain, **texts, "arch": "label_decoder", "optimizer": "sgd", "lr": 0.05, "options": options}
    one = train(output=str(tmp_path / "one"), **fields)
    (tmp_path / "worker.py").write_text(WORKER.format(fields=fields))
    port = str(free_port())
    workers = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), str(tmp_path / "two")],
            env=os.environ
            | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [worker.communicate(timeout=300) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]  # both know the same metrics
    for name in ("model.safetensors", "last/state.safetensors"):
        a, b = load_file(tmp_path / "one" / name), load_file(tmp_path / "two" / name)
        for key in a:
            if a[key].is_floating_point() and not key.startswith("random"):
                torch.testing.assert_close(
                    a[key], b[key], rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}"
                )
    rows = read_metrics(tmp_path / "two/metrics.jsonl")
    assert [row["samples"] for row in rows] == [row["samples"] for row in one.metrics]
    for ours, theirs in zip(one.metrics, rows, strict=True):
        for name in (name for name in ours if name.startswith("val_")):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=0.01 if name == "val_top1" else None)


class Second:
    """What the second of two processes sees, where the main one answered `main` to every question."""

    is_main = False

    def __init__(self, main: Any) -> None:
        self.main = main

    def gather(self, value: Any) -> list[Any]:
        return [self.main, value]


def test_only_the_main_process_looks_whether_the_output_is_free(tmp_path: Path) -> None:
    """It may have written there already when a slower process comes."""
    recipe = recipe_for(**{**FIELDS, "output": str(tmp_path)})
    (tmp_path / "recipe.yaml").write_text("written by the main process")
    assert new_folder(recipe, "digits", Second(False)) == tmp_path
    with pytest.raises(UsageError, match="is not empty; choose another output"):
        new_folder(recipe, "digits", Second(True))
    with pytest.raises(UsageError, match="is not empty; choose another output"):
        new_folder(recipe, "digits", Processes("cpu"))


def test_one_process_gets_back_what_it_gives() -> None:
    one = Processes("cpu")
    assert (one.rank, one.world_size, one.is_main) == (0, 1, True)
    assert one.share([0.5, 1]) == one.sum([0.5, 1]) == [0.5, 1]
    assert one.gather({"a": 1}) == [{"a": 1}]
