"""Inference latency: what one forward pass takes on this machine."""

import copy
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one forward pass of a whole batch: median and quartiles over `n` runs after a warm-up."""

    median_ms: float
    quartiles_ms: tuple[float, float]
    batch: int
    threads: int
    n: int
    device: str

    @property
    def spread(self) -> float:
        """The interquartile range in milliseconds."""
        return self.quartiles_ms[1] - self.quartiles_ms[0]

    @property
    def samples_per_second(self) -> float:
        return self.batch * 1000 / self.median_ms


def latency(
    model: nn.Module,
    input_size: Sequence[int],
    batch: int = 1,
    threads: int | None = None,
    *,
    channels_last: bool = True,
    seconds: float = 1.0,
    min_runs: int = 5,
    max_runs: int = 200,
    device: str | torch.device | None = None,
) -> Latency:
    """Time forward passes of random input until `seconds` or `max_runs` are used, whichever is first.

    Of `input_size` (C, H, W) or (T, I); of a network that embeds tokens, T of them.

    A copy of the model is timed, in evaluation and inference mode; the model itself stays as it is. `threads` sets
    torch's intra-operator threads for the measurement and is put back; None leaves them.
    """
    target = torch.device(device) if device is not None else _device_of(model)
    twin = copy.deepcopy(model).to(target).eval()
    vocabulary = getattr(getattr(model, "cfg", None), "vocab_size", 0)
    made: Any = getattr(model, "example_inputs", None)
    if made is not None:
        arguments = made(batch, *input_size, target)
        inputs = arguments[0]
    elif vocabulary:
        inputs = torch.randint(vocabulary, (batch, input_size[0]), device=target)
    else:
        inputs = torch.randn(batch, *input_size, device=target, dtype=_dtype_of(model))
    if channels_last and inputs.dim() == 4:
        twin = twin.to(memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    arguments = (inputs,) if made is None else arguments

    def once() -> float:
        start = time.perf_counter()
        twin(*arguments)
        if target.type == "cuda":
            torch.cuda.synchronize(target)
        return (time.perf_counter() - start) * 1000

    with torch.inference_mode(), intra_op_threads(threads) as used:
        times = _repeat(once, seconds, min_runs, max_runs)
    low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(middle, (low, high), batch, used, len(times), str(target))


def _repeat(once: Callable[[], float], seconds: float, min_runs: int, max_runs: int) -> list[float]:
    deadline = time.perf_counter() + seconds / 5
    for _ in range(3):  # warm-up: allocator, kernel selection
        once()
        if time.perf_counter() > deadline:
            break
    deadline = time.perf_counter() + seconds
    times: list[float] = []
    while len(times) < max(min_runs, 2) or (len(times) < max_runs and time.perf_counter() < deadline):
        times.append(once())
    return times


@contextmanager
def intra_op_threads(threads: int | None) -> Generator[int]:
    """Set torch's thread count inside the block and put the old one back; yields the count in force."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _device_of(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _dtype_of(model: nn.Module) -> torch.dtype:
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
