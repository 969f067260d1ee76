"""The training loop: one for every task, supervised or adversarial, on one process or many.

What it needs stands in files of their own: processes.py (devices, gradients across processes), pace.py (clock and
budget), schedules.py, optimizers.py, ema.py, checkpoint.py (resume), ledger.py (losses), progress.py (display).
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from corinth.errors import TrainingError
from corinth.tasks import Task
from corinth.training import resume
from corinth.training.ema import Ema
from corinth.training.finetune import training_mode
from corinth.training.interrupts import Stop
from corinth.training.ledger import STOPPED, Ledger
from corinth.training.optimizers import make_optimizer
from corinth.training.pace import Pace
from corinth.training.processes import Processes
from corinth.training.progress import Reporter
from corinth.training.recipe import Recipe
from corinth.training.schedules import factor
from corinth.training.stepping import autocast, split, without_gradient

Row = dict[str, Any]  # one line of metrics.jsonl


class Loop:
    """Trains `task` on `loader` until the pace says stop; progress is counted in samples.

    `keep(row, best)` is called after every evaluation, while the networks hold what was evaluated; `write(tensors,
    values)` stores the resume state. Both run on the main process only.
    """

    def __init__(
        self,
        task: Task,
        loader: Any,
        val_loader: Any | None,
        recipe: Recipe,
        *,
        processes: Processes,
        pace: Pace,
        reporter: Reporter,
        stop: Stop,
        keep: Callable[[Row, bool], None],
        write: Callable[[dict[str, Tensor], dict[str, Any]], None],
    ) -> None:
        self.task, self.loader, self.val_loader, self.recipe = task, loader, val_loader, recipe
        self.processes, self.pace, self.reporter, self.stop = processes, pace, reporter, stop
        self.keep, self.write = keep, write
        self.step = self.samples = 0
        self.lr = recipe.lr
        self.rows: list[Row] = []
        self.best: tuple[float, ...] | None = None
        self.stale = 0  # evaluations since the best
        self.rng = torch.Generator(processes.device).manual_seed(recipe.seed + processes.rank)
        self.ledger = Ledger()
        self.recipes = {name: dataclasses.replace(recipe, **phase.overrides) for name, phase in task.phases.items()}
        nets = {name: [task.nets[net] for net in phase.nets] for name, phase in task.phases.items()}
        self.optimizers = {name: make_optimizer(self.recipes[name], nets[name]) for name in task.phases}
        self.trained = {
            name: [p for group in optimizer.param_groups for p in group["params"]]
            for name, optimizer in self.optimizers.items()
        }
        trainable = [p for p in task.nets.parameters() if p.requires_grad]
        mine = {name: set(map(id, parameters)) for name, parameters in self.trained.items()}
        self.others = {name: [p for p in trainable if id(p) not in mine[name]] for name in task.phases}
        self.ema = Ema(task.nets, recipe.ema) if recipe.ema else None

    def run(self) -> str:
        """Train; returns why it ended: "budget", "early stopping" or "interrupted"."""
        training_mode(self.task.nets)
        self.pace.start()
        if not self.step:
            self.save()  # so that a disk or folder that cannot be written to is known before the work, not after
        due = self.pace.due(self.samples)
        progress, evaluate, end = self.processes.share([due.progress, due.evaluate, due.stop])
        if evaluate:  # it was due when the run was interrupted
            self.evaluate()
        while not end:
            if self.lost_patience:
                return "early stopping"
            for batch in self.loader:
                self.train(batch, progress)
                due = self.pace.due(self.samples)
                progress, evaluate, save, end, asked = self.processes.share(
                    [due.progress, due.evaluate, due.save, due.stop, self.stop.asked]
                )
                if asked:
                    self.save()
                    return "interrupted"
                if evaluate:
                    self.evaluate()
                elif save:
                    self.save()
                if self.ledger.due:
                    left = self.pace.seconds_left(self.samples)
                    losses = self.ledger.settle()
                    self.reporter.step(self.status() | {"progress": progress, "seconds_left": left, "losses": losses})
                if end or self.lost_patience:
                    break
        if not self.rows or self.rows[-1]["samples"] < self.samples:
            self.evaluate()
        return "budget"

    def train(self, batch: Any, progress: float) -> None:
        """Every phase's turn on one batch."""
        samples = int(self.processes.sum([batch.size])[0])
        parts = list(split(batch, self.parts(samples)))
        for phase in self.task.turns(self.step):
            optimizer, parameters = self.optimizers[phase], self.trained[phase]
            self.set_lr(phase, progress)
            with without_gradient(self.others[phase]):
                self.backward(phase, parts)
            self.processes.average_gradients(parameters)
            if self.recipe.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm, foreach=True)
            optimizer.step()
            for parameter in parameters:
                parameter.grad = None
            self.task.after_turn(phase)
        if self.ema is not None:
            self.ema.update()
        self.step += 1
        self.samples += samples

    def parts(self, samples: int) -> int:
        """In how many parts a step of so many samples (over all processes) goes through the networks.

        A last step that is smaller takes fewer, so that no part is smaller than it need be: every process the same
        number, none of them empty, nor of one sample where those of a full step are larger, as batch norm needs two.
        """
        full, world = int(self.recipe.batch_size), self.processes.world_size
        wanted = math.ceil(self.recipe.accumulate * samples / full)
        least = 2 if full >= 2 * self.recipe.accumulate * world else 1
        return max(1, min(wanted, samples // world // least))

    def backward(self, phase: str, parts: Sequence[Any]) -> None:
        """Gradients of the weighted sum of the phase's terms, each a mean over all its samples (or tokens).

        The counts of later parts are not known yet when the first goes backward. So every part is weighed by its
        count in the first part's, and when all counts are known the gradient is scaled once.
        """
        first: list[float] = []
        total: list[float] = []
        for part in parts:
            with autocast(self.recipe, self.processes.device):
                terms = self.task.losses(phase, part, self.rng)
            active = [term for term in terms.values() if term.weight]
            counts = self.processes.sum([term.count for term in active])
            first = first or counts
            total = [a + b for a, b in zip(total, counts, strict=True)] if total else counts
            loss: Any = 0
            for term, reference in zip(active, first, strict=True):
                share = term.weight * term.count * self.processes.world_size / reference
                loss = loss + (term.value if share == 1 else term.value * share)
            self.processes.backward(loss)
            self.ledger.add(self.step, phase, terms)
        if len(parts) > 1:
            scales = [a / b for a, b in zip(first, total, strict=True)]
            if max(scales) - min(scales) > 1e-6 * max(scales):
                raise TrainingError(
                    f"the terms of phase {phase!r} average over counts that change differently from part to part, "
                    f"which accumulate {self.recipe.accumulate} cannot weigh; set accumulate to 1"
                )
            torch._foreach_mul_([p.grad for p in self.trained[phase] if p.grad is not None], scales[0])

    def set_lr(self, phase: str, progress: float) -> None:
        recipe = self.recipes[phase]
        self.lr = recipe.lr * factor(
            recipe.schedule,
            progress,
            warmup=recipe.warmup,
            step_at=recipe.step_at,
            step_gamma=recipe.step_gamma,
            final=recipe.final_lr,
        )
        for group in self.optimizers[phase].param_groups:
            group["lr"] = self.lr * group["lr_factor"]

    def evaluate(self) -> None:
        """Validate (the moving average, where there is one), keep the best, write the resume state."""
        self.check()
        self.processes.average_buffers(self.task.nets)
        with self.pace.evaluating(self.samples):
            with self.ema.in_place() if self.ema else contextlib.nullcontext():
                metrics = self.validate()
                for name, value in metrics.items():
                    if not math.isfinite(value):
                        raise TrainingError(f"validation {name} is {value} after step {self.step}: {STOPPED}")
                rank = self.task.rank(metrics) if metrics else ()
                better = self.best is None or rank >= self.best
                self.stale = 0 if self.best is None or rank > self.best else self.stale + 1
                self.best = rank if better else self.best
                row = self.status() | self.ledger.take() | {f"val_{name}": value for name, value in metrics.items()}
                row["best"] = better
                self.rows.append(row)
                if self.processes.is_main:
                    self.keep(row, better)
            self.write_state()
        self.reporter.evaluation(row)

    @property
    def lost_patience(self) -> bool:
        return 0 < self.recipe.early_stopping <= self.stale

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The task's metrics over the whole validation part; none without one."""
        if self.val_loader is None:
            return {}
        metrics = self.task.metrics().to(self.processes.device)
        self.task.nets.eval()
        with autocast(self.recipe, self.processes.device):
            for batch in self.val_loader:
                self.task.measure(metrics, batch)
        training_mode(self.task.nets)
        return {name: float(value) for name, value in metrics.compute().items()}

    def status(self) -> Row:
        return {
            "epoch": round(self.samples / self.loader.samples_per_epoch, 4),
            "step": self.step,
            "samples": self.samples,
            "seconds": round(self.pace.seconds, 3),
            "lr": self.lr,
            "samples_per_second": round(self.samples / max(self.pace.training_seconds, 1e-9), 1),
        }

    def save(self) -> None:
        """Write the resume state."""
        self.check()
        self.processes.average_buffers(self.task.nets)  # one state for all, whenever it is taken: averaging is linear
        with self.pace.saving():
            self.write_state()

    def check(self) -> None:
        """Losses and weights are finite, or nothing may be written over what is good."""
        self.ledger.settle()
        if not torch.stack([p.isfinite().all() for p in self.task.nets.parameters()]).all():
            raise TrainingError(f"the weights are not finite after step {self.step}: {STOPPED}")

    def write_state(self) -> None:
        tensors, values = resume.capture(self)
        if self.processes.is_main:
            self.write(tensors, values)
        self.processes.wait()
