"""What every benchmark here shares: which machine, how to time side by side, how to print the result."""

import importlib.util
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import corinth
from corinth.inspect.memory import freed_memory_kept
from corinth.training import Run

RUNTIMES = ("onnx", "onnxscript", "onnxruntime", "openvino")
PEERS = Path(__file__).parent.parent / ".peers"


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median and interquartile range over its runs."""

    median: float
    low: float
    high: float
    runs: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.median * 1e3:9.2f} ms  [{self.low * 1e3:.2f}, {self.high * 1e3:.2f}]"


def real_data(name: str) -> Path:
    """A set in $CORINTH_DATA; without it the benchmark ends with a sentence."""
    folder = os.environ.get("CORINTH_DATA")
    if folder is None or not (path := Path(folder, name).resolve()).exists():
        sys.exit(f"{name} is not there: set CORINTH_DATA to the folder that has it")
    return path


def trained(**fields: Any) -> Run:
    """`corinth.train`. One that was interrupted ends the benchmark: its score would be that of another training."""
    run = corinth.train(**fields)
    if run.interrupted:
        sys.exit(f"interrupted; what was trained is in {run.path}")
    return run


def machine() -> str:
    """One line: processor and its widest registers, cores, threads, Python and torch."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    wide, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    python = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{model} ({wide}), {os.cpu_count()} cores, {threads} threads, {python}"


def inference(model: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    """A call that is timed: the outputs, without gradients."""

    def run() -> Tensor:
        with torch.inference_mode():
            return model(x)

    return run


def training(model: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """A call that is timed: forward, cross-entropy, backward."""
    targets = torch.arange(len(x)) % 10

    def run() -> Tensor:
        model.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), targets)
        loss.backward()
        return loss.detach()

    return run


def side_by_side(calls: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 2) -> dict[str, Timing]:
    """Time the calls in turn, round after round, each in an order of its own, so that a drift of the machine and what
    ran before meet all of them alike."""
    order = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with freed_memory_kept():  # for all alike; otherwise the system clears pages at random in between
        for call in calls.values():
            for _ in range(warmup):
                call()
        for _ in range(rounds):
            for name in order.sample(list(calls), len(calls)):
                start = time.perf_counter()
                calls[name]()
                seconds[name].append(time.perf_counter() - start)
    return {name: summary(runs) for name, runs in seconds.items()}


def in_blocks(calls: Mapping[str, Callable[[], object]], *, seconds: float, rounds: int = 5) -> dict[str, Timing]:
    """Time the calls in turn, some calls of one after a pause: threads of a runtime that wait busily for its next
    call, which would take the cores from the others, have gone to sleep then. `seconds` are for all."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    with freed_memory_kept():
        for _ in range(rounds):
            for name, call in calls.items():
                time.sleep(0.2)
                call(), call()
                deadline = time.perf_counter() + seconds / rounds / len(calls)
                while not found[name] or time.perf_counter() < deadline:
                    start = time.perf_counter()
                    call()
                    found[name].append(time.perf_counter() - start)
    return {name: summary(runs) for name, runs in found.items()}


def summary(seconds: list[float]) -> Timing:
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Timing(statistics.median(seconds), low, high, tuple(seconds))


def import_peers() -> None:
    """Put timm, torchvision and pytorchcv, as `make parity` installs them, on the path of this process.

    torchvision's compiled operators cannot load beside a CPU-only torch; the two that its Python code names at
    import are declared first, without a body.
    """
    if not PEERS.is_dir():
        sys.exit(f"the peers are not installed in {PEERS}; run `make parity` first")
    sys.path.insert(0, str(PEERS))
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import_peers.library = library  # type: ignore[attr-defined]  # a Library that is collected takes its operators along


def import_runtimes() -> None:
    """Check that ONNX Runtime and OpenVINO, and what exports to them, can be imported."""
    missing = [name for name in RUNTIMES if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"{', '.join(missing)} cannot be imported; run `make runtimes` first")
