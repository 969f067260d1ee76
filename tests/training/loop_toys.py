"""Stand-ins for the loop's neighbours: a loader over tensors, a clock that is moved by hand, a recorder, a signal."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corinth.tasks import Phase, Task, Term
from corinth.training.budget import parse_budget
from corinth.training.interrupts import Stop
from corinth.training.loop import Loop
from corinth.training.pace import Pace
from corinth.training.processes import Processes
from corinth.training.recipe import Recipe


@contextmanager
def stopped_after(questions: int, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """A training in here is asked to stop once it has looked so many times whether it is."""
    asked = iter([False] * questions + [True] * 99)
    with monkeypatch.context() as patch:
        patch.setattr(Stop, "asked", property(lambda _: next(asked)))
        yield


@dataclass
class Points:
    inputs: Tensor
    targets: Tensor

    @property
    def size(self) -> int:
        return len(self.inputs)


class PointLoader:
    """Batches in a fixed order, from any position on."""

    def __init__(self, inputs: Tensor, targets: Tensor, batch_size: int) -> None:
        self.inputs, self.targets, self.batch_size = inputs, targets, batch_size
        self.samples_per_epoch = len(inputs)
        self.epoch = self.position = 0

    def __iter__(self) -> Iterator[Points]:
        start = self.position
        for at in range(start, len(self.inputs), self.batch_size):
            end = at + self.batch_size
            self.position = min(end, len(self.inputs))
            if self.position == len(self.inputs):
                self.epoch, self.position = self.epoch + 1, 0
            yield Points(self.inputs[at:end], self.targets[at:end])

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Regression(Task):
    """Least squares, with an optional second term over another count; `seconds` move the clock."""

    name = "regression"

    def __init__(self, *, clock: Clock | None = None, step_seconds: float = 0.0, val_seconds: float = 0.0) -> None:
        torch.manual_seed(0)
        self.nets = nn.ModuleDict({"model": nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))})
        self.phases = {"train": Phase(nets=("model",))}
        self.clock, self.step_seconds, self.val_seconds = clock, step_seconds, val_seconds
        self.poison: dict[int, float] = {}  # step -> what its loss is multiplied with
        self.steps = 0
        self.scores: list[float] = []

    def losses(self, phase: str, batch: Points, rng: torch.Generator) -> dict[str, Term]:
        if self.clock is not None:
            self.clock.now += self.step_seconds
        self.steps += 1
        value = (self.predict(batch) - batch.targets).square().mean()
        value = value * self.poison.get(self.steps, 1.0)
        return {"loss": Term(value, count=batch.size)}

    def predict(self, batch: Points) -> Tensor:
        return self.nets["model"](batch.inputs).squeeze(1)

    def metrics(self) -> Any:
        from torchmetrics import MeanSquaredError, MetricCollection

        return MetricCollection({"error": MeanSquaredError()})

    def measure(self, metrics: Any, batch: Points) -> None:
        if self.clock is not None:
            self.clock.now += self.val_seconds
        metrics.update(self.predict(batch), batch.targets)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        return (self.scores.pop(0),) if self.scores else (-metrics["error"],)


@dataclass
class Recorder:
    """Reporter, and the loop's two callbacks."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    states: list[tuple[dict[str, Tensor], dict[str, Any]]] = field(default_factory=list)
    steps: list[Mapping[str, Any]] = field(default_factory=list)

    def start(self, info: Mapping[str, Any]) -> None: ...
    def step(self, status: Mapping[str, Any]) -> None:
        self.steps.append(status)

    def evaluation(self, row: Mapping[str, Any]) -> None: ...
    def message(self, text: str) -> None: ...
    def end(self, result: Mapping[str, Any]) -> None: ...

    def keep(self, row: dict[str, Any], best: bool) -> None:
        self.rows.append(row)
        self.kept.append(best)

    def write(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        self.states.append(({name: tensor.detach().clone() for name, tensor in tensors.items()}, values))


def recipe(**fields: Any) -> Recipe:
    return Recipe(**({"arch": "toy", "data": "toy", "lr": 0.1, "batch_size": 8, "device": "cpu"} | fields))


def points(n: int = 32, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 3, generator=generator)
    return inputs, inputs.sum(1).sin()


def loop(
    task: Task, settings: Recipe, *, record: Recorder | None = None, clock: Any = None, n: int = 32, n_val: int = 16
) -> tuple[Loop, Recorder]:
    record = record or Recorder()
    batch = int(settings.batch_size)
    budget = parse_budget(settings.budget)
    pace = Pace(
        samples_planned=budget.samples(n, 1),
        seconds_planned=budget.amount if budget.kind == "s" else None,
        evaluate_every=parse_budget(settings.evaluate_every),
        save_every=settings.save_every,
        samples_per_epoch=n,
        batch_size=batch,
        val_samples=n_val,
        clock=clock or Clock(),
    )
    made = Loop(
        task,
        PointLoader(*points(n), batch),
        PointLoader(*points(n_val, seed=2), n_val) if n_val else None,
        settings,
        processes=Processes("cpu"),
        pace=pace,
        reporter=record,
        stop=Stop(),
        keep=record.keep,
        write=record.write,
    )
    return made, record
