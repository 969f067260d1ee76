"""What a training would take: a few of its steps are run on random inputs, the rest is arithmetic."""

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from corinth.data import Batch, ImageData, SequenceData
from corinth.data.captions import CaptionSource
from corinth.data.dataset import DataSet
from corinth.data.preparation import Preparation
from corinth.data.rows.source import RowData
from corinth.data.store import free_memory
from corinth.inspect import count_macs, count_params, peak_memory
from corinth.inspect.devices import choose_device
from corinth.tasks import Task
from corinth.training.batch_size import random_batch
from corinth.training.budget import parse_budget
from corinth.training.build import build_model, build_network
from corinth.training.finetune import training_mode
from corinth.training.optimizers import make_optimizer
from corinth.training.recipe import Recipe
from corinth.training.rows import build_row_model
from corinth.training.sequences import build_sequence_model
from corinth.training.tasks import make_task

_FIRST = 8  # samples of the first, small step, which shows whether a whole batch can be afforded


@dataclass(frozen=True)
class Estimate:
    """Seconds and bytes of the whole job, on this machine as busy as it is now."""

    arch: str
    device: str
    input_size: tuple[int, ...]
    params: int
    macs: int
    batch_size: int
    budget: str
    samples_per_second: float
    seconds: float
    bytes: int | None  # above what the process has at the start: samples and training steps; None if not measurable

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def estimate(recipe: Recipe, data: DataSet, *, seconds: float = 2.0) -> Estimate:
    """Time and memory of training by `recipe`; a validation sample counts as a third of a training one.

    Steps run for about `seconds`. Where a whole batch would take longer, fewer samples are run and both time and
    memory scaled up, which overstates the memory a little.
    """
    device = choose_device(recipe.device)
    model, encoding, input_size, make = _network(recipe, data)
    macs, params = count_macs(model, input_size), count_params(model, frozen=True)
    train, val = _trained_on(data), len(data.positions("val")) if data.scorable("val") else 0
    wanted = min(128 if recipe.batch_size == "auto" else recipe.batch_size, train)
    model.to(device)
    first = min(_FIRST, wanted)
    task = make_task(recipe, model, data, encoding)

    def batch(size: int) -> Batch:
        return random_batch(task, make(size)).to(device)

    _speed(recipe, task, batch(first), device, 0.0)  # the first of all is slow
    affordable = _speed(recipe, task, batch(first), device, 0.0) * seconds / 3
    taken = wanted if wanted <= affordable else first
    with peak_memory(device) as peak:
        speed = _speed(recipe, task, batch(taken), device, seconds)
    budget = parse_budget(recipe.budget)
    samples = budget.samples(train, macs)
    if samples is None:
        total = budget.amount
    else:
        every = parse_budget(recipe.evaluate_every).samples(train, macs)
        validations = 1 if every is None else max(1, samples // every)
        total = (samples + validations * val / 3) / speed
    held = (train + val) * math.prod(input_size) * (1 if isinstance(data, ImageData) else 8)  # bytes a value, at most
    if isinstance(data, ImageData) and held >= free_memory() // 2:
        held = 0  # they are streamed
    return Estimate(
        arch=recipe.arch,
        device=str(device),
        input_size=input_size,
        params=params,
        macs=macs,
        batch_size=wanted,
        budget=str(budget),
        samples_per_second=speed,
        seconds=total,
        bytes=None if peak.bytes is None else peak.bytes * wanted // taken + held,
    )


def _trained_on(data: DataSet) -> int:
    """Samples of an epoch; of pictures every caption is one."""
    rows = data.positions("train")
    return len(data.source.captions_at(rows)) if isinstance(data.source, CaptionSource) else len(rows)


def _network(
    recipe: Recipe, data: DataSet
) -> tuple[torch.nn.Module, Preparation | None, tuple[int, ...], Callable[[int], Any]]:
    """The network, the encoding of sequences and rows, the shape of its input, of sequences a typical one, and what
    makes random inputs."""
    if isinstance(data, SequenceData):
        model, encoding = build_sequence_model(recipe, data, lambda _: None)
        return model, encoding, encoding.shape, lambda size: encoding.random_inputs(size, encoding.shape[0])
    if isinstance(data, RowData):
        model, rows = build_row_model(recipe, data, lambda _: None)
        return model, rows, rows.shape, rows.random_inputs
    assert isinstance(data, ImageData)
    if isinstance(data.source, CaptionSource):
        model, captions = build_model(recipe, data)
        return model, captions, captions.shape, captions.random_inputs
    model, size, _ = build_network(recipe, data)
    shape = (model.cfg.in_chans, *size)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    return model, None, shape, lambda count: torch.randn(count, *shape).contiguous(memory_format=layout)


def _speed(recipe: Recipe, task: Task, batch: Batch, device: torch.device, seconds: float) -> float:
    """Samples a second of training steps of a batch, the first step not counted where there are more."""
    training_mode(task.nets)
    optimizer = make_optimizer(recipe, list(task.nets.values()))
    rng = torch.Generator(device).manual_seed(0)
    if recipe.channels_last:
        task.nets.to(memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while not times or (len(times) < 50 and time.perf_counter() < deadline):
        start = time.perf_counter()
        terms = task.losses("train", batch, rng).values()
        torch.stack([term.weight * term.value for term in terms if term.weight]).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    counted = times[1:] or times
    return len(counted) * batch.size / sum(counted)
