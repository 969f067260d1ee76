"""`batch_size: auto`."""

from pathlib import Path

import pytest
import torch

from corinth.data import open_data
from corinth.errors import TrainingError
from corinth.training import batch_size, train
from corinth.training.batch_size import Trial, search


def machine(*, bytes_per_sample: float, memory: float, peak_at: int) -> list[int]:
    tried: list[int] = []

    def trial(size: int) -> Trial:
        tried.append(size)
        share = size * bytes_per_sample / memory
        return Trial(min(size, peak_at) * 10.0, share if share <= 1 else float("inf"))

    tried.append(search(trial, largest=10**9, fastest=False))
    return tried


def test_on_a_gpu_the_largest_that_leaves_a_margin() -> None:
    assert machine(bytes_per_sample=1, memory=1000, peak_at=32)[-1] == 512
    assert machine(bytes_per_sample=1, memory=600, peak_at=32)[-1] == 256  # 512 would fit, and run out later


def test_on_a_cpu_the_smallest_that_is_as_fast_as_any() -> None:
    assert search(lambda size: Trial(min(size, 64) * 10.0, 0.0), largest=10**9, fastest=True) == 64


def test_on_a_cpu_a_size_that_would_not_fit_is_not_tried() -> None:
    tried = []

    def trial(size: int) -> Trial:
        tried.append(size)
        return Trial(float(size), size / 100)

    assert search(trial, largest=10**9, fastest=True) == 64
    assert tried == [8, 16, 32, 64]


def test_an_epoch_keeps_some_steps() -> None:
    assert search(lambda size: Trial(float(size), 0.0), largest=100, fastest=False) == 64
    assert search(lambda size: Trial(float(size), 0.0), largest=1, fastest=False) == batch_size.SMALLEST


def test_nothing_fits() -> None:
    with pytest.raises(TrainingError, match="not even a batch of 8 fits the memory"):
        search(lambda size: Trial(0.0, float("inf")), largest=100, fastest=False)


def test_trying_leaves_no_trace(tmp_path: Path) -> None:
    """A run that was told the size that auto finds has the same weights."""
    fields = {"arch": "resnet20_cifar10", "budget": "64samples", "device": "cpu", "threads": 1, "augmentation": {}}
    digits = open_data("digits")
    found = train(data=digits, output=str(tmp_path / "a"), batch_size="auto", **fields)
    size = found.recipe.batch_size
    assert isinstance(size, int)
    assert size & (size - 1) == 0
    assert size <= 1259 // batch_size.STEPS_PER_EPOCH
    told = train(
        data=digits, output=str(tmp_path / "b"), batch_size=size, eval_batch_size=found.recipe.eval_batch_size, **fields
    )
    from safetensors.torch import load_file

    a, b = (load_file(run.path / "last/state.safetensors") for run in (found, told))
    assert all(torch.equal(a[name], b[name]) for name in a)
