"""`batch_size: auto`: a power of two that fits the memory, found by trying."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from corinth.data import Batch, Sequences
from corinth.data.preparation import Preparation
from corinth.data.store import free_memory
from corinth.errors import TrainingError
from corinth.inspect import peak_memory
from corinth.tasks import Task
from corinth.training.finetune import training_mode
from corinth.training.optimizers import make_optimizer
from corinth.training.processes import Processes
from corinth.training.recipe import Recipe
from corinth.training.stepping import autocast, split

SMALLEST, LARGEST = 8, 4096
STEPS_PER_EPOCH = 16  # a batch so large that an epoch has fewer steps trains badly
MARGIN = 0.8  # of the memory; the rest is for fragmentation and for what else runs
GAIN = 1.05  # on a CPU a batch twice as large must be faster by this to be worth it
TIMED = 2  # steps


@dataclass(frozen=True)
class Trial:
    """What training with some batch size took."""

    samples_per_second: float
    memory_share: float  # of what was free; infinite: it did not fit


def choose_batch_size(recipe: Recipe, task: Task, preprocess: Preparation, samples: int, processes: Processes) -> int:
    """Try training steps of growing batches on random inputs, and put weights and statistics back.

    On a CUDA device the largest power of two that leaves a margin of the memory; on a CPU, where memory is seldom
    the limit, the smallest that trains about as fast as any.
    """
    weights = {name: tensor.detach().clone() for name, tensor in task.nets.state_dict().items()}
    device = processes.device
    try:
        share = samples // (STEPS_PER_EPOCH * processes.world_size)
        size = search(
            lambda size: _try(recipe, task, preprocess, size, device), largest=share, fastest=device.type != "cuda"
        )
    finally:
        task.nets.load_state_dict(weights)
    return int(processes.share([size])[0]) * processes.world_size


def search(trial: Callable[[int], Trial], *, largest: int, fastest: bool) -> int:
    """Upwards through the powers of two up to `largest`; `fastest` stops asking for more where speed stays.

    A size is not even tried if the last one, doubled, would take more than the margin and `fastest` is set: a CPU
    that runs out of memory ends the process.
    """
    best, speed, expected = None, 0.0, 0.0
    size = SMALLEST
    while size <= max(SMALLEST, min(largest, LARGEST)) and not (fastest and expected > MARGIN):
        tried = trial(size)
        if tried.memory_share > MARGIN:
            break
        if not fastest or tried.samples_per_second > GAIN * speed:
            best, speed = size, tried.samples_per_second
        expected = 2 * tried.memory_share
        size *= 2
    if best is None:
        raise TrainingError(
            f"not even a batch of {SMALLEST} fits the memory; use smaller images, shorter texts or a smaller network"
        )
    return best


def evaluation_size(recipe: Recipe, size: int) -> int:
    """The validation batch that goes with a chosen batch: without gradients several times as many images fit."""
    return min(recipe.eval_batch_size, 4 * size)


def _try(recipe: Recipe, task: Task, preprocess: Preparation, size: int, device: torch.device) -> Trial:
    """A warm-up step, then timed ones, and a validation batch."""
    optimizers = {
        name: make_optimizer(replace(recipe, **phase.overrides), [task.nets[net] for net in phase.nets])
        for name, phase in task.phases.items()
    }
    rng = torch.Generator(device).manual_seed(0)
    batch = _random_batch(task, preprocess, size, device)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    training_mode(task.nets)
    began = 0.0
    try:
        with peak_memory(device) as memory:
            for step in range(1 + TIMED):
                if step == 1:
                    began = _now(device)
                for name, optimizer in optimizers.items():
                    for part in split(batch, min(recipe.accumulate, size)):
                        with autocast(recipe, device):
                            terms = task.losses(name, part, rng)
                        torch.stack([t.value * t.weight for t in terms.values() if t.weight]).sum().backward()
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
            seconds = (_now(device) - began) / TIMED
            task.nets.eval()
            with torch.no_grad(), autocast(recipe, device):
                task.predict(_random_batch(task, preprocess, evaluation_size(recipe, size), device))
    except (torch.OutOfMemoryError, MemoryError):
        return Trial(0.0, float("inf"))
    finally:
        task.nets.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return Trial(size / seconds, (memory.bytes or 0) / free)


def _random_batch(task: Task, preprocess: Preparation, size: int, device: torch.device) -> Batch:
    return random_batch(task, preprocess.random_inputs(size)).to(device)


def random_batch(task: Task, inputs: Any) -> Batch:
    """Made-up inputs with made-up targets."""
    places = inputs.values.shape[1:2] if isinstance(inputs, Sequences) else inputs.shape[2:]
    return Batch(inputs, task.random_targets(len(inputs), tuple(places)), torch.arange(len(inputs)))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
