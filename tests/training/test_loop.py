"""The loop on toys: turns, accumulation, averages, patience, what is not finite, and going on exactly."""

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from loop_toys import Points, Recorder, Regression, loop, points, recipe
from torch import Tensor, nn

from corinth.errors import TrainingError, UsageError
from corinth.tasks import Phase, Task, Term
from corinth.training.resume import restore
from corinth.training.stepping import split


def weights(task: Task) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in task.nets.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_one_epoch_is_plain_sgd() -> None:
    """Against a loop written by hand."""
    task = Regression()
    model = copy.deepcopy(task.nets["model"])
    settings = recipe(budget="1ep", momentum=0.9, nesterov=False, weight_decay=0.0, schedule="constant")
    loop(task, settings)[0].run()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    inputs, targets = points()
    for at in range(0, 32, 8):
        loss = (model(inputs[at : at + 8]).squeeze(1) - targets[at : at + 8]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for ours, plain in zip(task.nets["model"].parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, plain)


def test_progress_is_counted_in_samples_and_the_last_batch_may_be_small() -> None:
    made, record = loop(Regression(), recipe(budget="40samples"), n=20)
    assert made.run() == "budget"
    assert (made.samples, made.step) == (40, 6)
    assert [row["epoch"] for row in record.rows] == [1.0, 2.0]


@pytest.mark.parametrize("n", [32, 28])  # 28: the last batch of 4 comes in two parts of 2
def test_two_halves_are_one_batch(n: int) -> None:
    once, twice = Regression(), Regression()
    for task, accumulate in ((once, 1), (twice, 2)):
        settings = recipe(budget="1ep", accumulate=accumulate, clip_norm=0.5)
        loop(task, settings, n=n)[0].run()
    for a, b in zip(once.nets.parameters(), twice.nets.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


class Masked(Regression):
    """A mean over those targets that are positive: parts of a batch count differently, as with padded tokens."""

    def losses(self, phase: str, batch: Points, rng: torch.Generator) -> dict[str, Term]:
        mask = batch.targets > 0
        error = (self.nets["model"](batch.inputs).squeeze(1) - batch.targets).square()
        return {"loss": Term(error[mask].mean(), count=int(mask.sum()))}


def test_parts_weigh_by_what_they_count() -> None:
    once, twice = Masked(), Masked()
    for task, accumulate in ((once, 1), (twice, 2)):
        loop(task, recipe(budget="1ep", accumulate=accumulate))[0].run()
    for a, b in zip(once.nets.parameters(), twice.nets.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


class Mixed(Masked):
    def losses(self, phase: str, batch: Points, rng: torch.Generator) -> dict[str, Term]:
        size = self.nets["model"](batch.inputs).square().mean()
        return super().losses(phase, batch, rng) | {"size": Term(size, weight=0.1, count=batch.size)}


def test_terms_over_different_things_cannot_be_accumulated() -> None:
    loop(Mixed(), recipe(budget="1ep"))[0].run()
    with pytest.raises(TrainingError, match=r"phase 'train'.*set accumulate to 1"):
        loop(Mixed(), recipe(budget="1ep", accumulate=2))[0].run()


def test_split_is_even() -> None:
    parts = list(split(Points(*points(5)), 4))
    assert [part.size for part in parts] == [2, 1, 1, 1]
    assert torch.equal(torch.cat([part.inputs for part in parts]), points(5)[0])


def test_a_small_last_batch_takes_fewer_parts() -> None:
    made, _ = loop(Regression(), recipe(batch_size=12, accumulate=4))
    assert [made.parts(samples) for samples in (12, 7, 6, 3, 1)] == [4, 3, 2, 1, 1]
    made.processes.world_size = 2  # ranks of 3 and 2 samples: no part is empty, and both have as many
    assert (made.parts(12), made.parts(5), made.parts(2)) == (4, 2, 1)
    made.recipe = recipe(batch_size=12, accumulate=12)
    assert (made.parts(12), made.parts(5)) == (6, 2)


def test_no_part_of_a_small_last_batch_is_of_one_sample_where_full_ones_are_larger() -> None:
    made, _ = loop(Regression(), recipe(batch_size=7, accumulate=3))
    assert [made.parts(samples) for samples in (7, 5, 3, 2, 1)] == [3, 2, 1, 1, 1]
    for full, accumulate in itertools.product(range(2, 20), range(1, 6)):
        made.recipe = recipe(batch_size=max(full, 2 * accumulate), accumulate=accumulate)
        for samples in range(2, int(made.recipe.batch_size) + 1):
            assert 1 <= made.parts(samples) <= min(accumulate, samples // 2)


class Adversarial(Task):
    """D tells numbers around 3 from what G makes of noise; two turns for D, one for G."""

    name = "toy-gan"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.nets = nn.ModuleDict(
            {
                "G": nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)),
                "D": nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1)),
            }
        )
        self.phases = {
            "D": Phase(nets=("D",), overrides={"lr": 0.02}),
            "G": Phase(nets=("G",), overrides={"optimizer": "adam", "lr": 0.01, "betas": (0.5, 0.99)}),
        }
        self.seen: list[str] = []

    def turns(self, step: int) -> Sequence[str]:
        return ("D", "D", "G")

    def losses(self, phase: str, batch: Points, rng: torch.Generator) -> dict[str, Term]:
        self.seen.append(phase)
        grads = {name: [p.requires_grad for p in net.parameters()] for name, net in self.nets.items()}
        assert all(grads[phase])
        assert not any(grads["G" if phase == "D" else "D"])
        noise = torch.randn(batch.size, 2, generator=rng)
        fake = self.nets["D"](self.nets["G"](noise))
        if phase == "G":
            return {"fool": Term(F.softplus(-fake).mean(), count=batch.size)}
        real = self.nets["D"](batch.inputs[:, :1] + 3)
        return {
            "real": Term(F.softplus(-real).mean(), count=batch.size),
            "fake": Term(F.softplus(fake).mean(), count=batch.size),
        }

    def predict(self, batch: Points) -> Tensor:
        return self.nets["D"](batch.inputs[:, :1])

    def after_turn(self, phase: str) -> None:
        self.seen.append(f"after {phase}")
        if phase == "D":
            with torch.no_grad():
                for parameter in self.nets["D"].parameters():
                    parameter.clamp_(-0.5, 0.5)

    def state(self) -> dict[str, Tensor]:
        return {"turns": torch.tensor(len(self.seen))}

    def load_state(self, state: Any) -> None:
        self.seen = ["restored"] * int(state["turns"])


def test_an_adversarial_task_is_no_special_case() -> None:
    task = Adversarial()
    before = weights(task)
    made, record = loop(task, recipe(budget="2ep", clip_norm=1.0, ema=0.5), n_val=0)
    made.run()
    assert task.seen[:6] == ["D", "after D", "D", "after D", "G", "after G"]
    assert len(task.seen) == 8 * 6
    after = weights(task)
    assert not any(torch.equal(before[name], after[name]) for name in before)
    assert {type(optimizer).__name__ for optimizer in made.optimizers.values()} == {"SGD", "Adam"}
    assert {"train_D/real", "train_D/fake", "train_G/fool"} <= record.rows[-1].keys()
    assert record.kept == [True, True]  # without a metric the latest is the best
    assert max(float(p.detach().abs().max()) for p in task.nets["D"].parameters()) <= 0.5
    assert all(p.requires_grad for p in task.nets.parameters())


def test_an_adversarial_task_goes_on_exactly() -> None:
    whole = Adversarial()
    loop(whole, recipe(budget="4ep", ema=0.9), n_val=0)[0].run()
    again = cut(Adversarial, recipe(budget="4ep", ema=0.9), after=7, n_val=0)
    assert same(weights(whole), weights(again.task))
    assert len(again.task.seen) == len(whole.seen)


def test_the_moving_average_is_what_is_evaluated_and_kept() -> None:
    task = Regression()
    made, _ = loop(task, recipe(budget="2ep", ema=0.8))
    average = [p.detach().clone() for p in task.nets.parameters()]
    updates = 0
    original = made.ema.update

    def update() -> None:
        nonlocal updates
        original()
        updates += 1
        decay = min(0.8, (1 + updates) / (10 + updates))
        for mean, parameter in zip(average, task.nets.parameters(), strict=True):
            mean.mul_(decay).add_(parameter.detach(), alpha=1 - decay)

    made.ema.update = update
    kept = []
    made.keep = lambda row, best: kept.append(weights(task))
    made.run()
    assert updates == 8
    for mean, parameter, raw in zip(average, kept[-1].values(), task.nets.parameters(), strict=True):
        torch.testing.assert_close(parameter, mean)
        assert not torch.equal(parameter, raw)


def test_the_best_evaluation_is_kept_and_patience_ends() -> None:
    task = Regression()
    task.scores = [1.0, 3.0, 2.0, 2.5, 9.0]
    made, record = loop(task, recipe(budget="5ep", early_stopping=2))
    assert made.run() == "early stopping"
    assert record.kept == [True, True, False, False]
    assert made.best == (3.0,)


def test_evaluations_come_when_asked_for() -> None:
    made, record = loop(Regression(), recipe(budget="64samples", evaluate_every="24samples"))
    made.run()
    assert [row["samples"] for row in record.rows] == [24, 48, 64]


def test_without_a_validation_part_the_latest_is_kept() -> None:
    made, record = loop(Regression(), recipe(budget="2ep"), n_val=0)
    made.run()
    assert record.kept == [True, True]
    assert not any(name.startswith("val_") for name in record.rows[-1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_its_step(bad: float) -> None:
    task = Regression()
    task.poison = {6: bad}
    made, record = loop(task, recipe(budget="3ep"))
    with pytest.raises(
        TrainingError, match=rf"loss is {bad} in step 6: training stopped and the last good state is kept"
    ):
        made.run()
    assert record.states[-1][1]["step"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in record.states[-1][0].values())


def test_weights_that_are_not_finite_are_never_written_over_good_ones() -> None:
    """The step whose update breaks them still had a finite loss, and there is no validation to show it."""
    task = Regression()
    task.after_turn = lambda phase: task.nets["model"][0].bias.data.mul_(float("inf") if task.steps == 6 else 1)
    made, record = loop(task, recipe(budget="3ep", evaluate_every="16samples"), n_val=0)
    with pytest.raises(TrainingError, match="the weights are not finite after step 6: training stopped"):
        made.run()
    assert record.states[-1][1]["step"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in record.states[-1][0].values())
    assert len(record.kept) == 2


def test_a_state_has_the_running_statistics_of_all_processes() -> None:
    task = Regression()
    task.nets["model"].append(nn.BatchNorm1d(1))
    made, record = loop(task, recipe())
    made.processes.average_buffers = lambda nets: nets["model"][-1].running_mean.fill_(7)
    made.save()
    assert record.states[-1][0]["nets.model.3.running_mean"] == 7


def test_a_tie_is_kept_and_costs_patience() -> None:
    task = Regression()
    task.scores = [1.0, 1.0, 1.0, 9.0]
    made, record = loop(task, recipe(budget="5ep", early_stopping=2))
    assert made.run() == "early stopping"
    assert record.kept == [True, True, True]


def test_a_validation_that_is_not_finite_stops_too() -> None:
    made, record = loop(Regression(), recipe(budget="2ep"))
    made.val_loader.targets[0] = float("inf")
    with pytest.raises(TrainingError, match="validation error is inf after step 4"):
        made.run()
    assert not record.kept


def test_nothing_to_train() -> None:
    task = Regression()
    task.nets.requires_grad_(False)
    with pytest.raises(UsageError, match="nothing to train"):
        loop(task, recipe())


def test_bfloat16_autocast_reaches_the_task() -> None:
    seen = []

    class Watching(Regression):
        def losses(self, phase: str, batch: Points, rng: torch.Generator) -> dict[str, Term]:
            seen.append(self.nets["model"](batch.inputs).dtype)
            return super().losses(phase, batch, rng)

    for precision in ("bf16", "fp32", "bf16"):
        loop(Watching(), recipe(budget="8samples", precision=precision))[0].run()
    assert seen == [torch.bfloat16, torch.float32, torch.bfloat16]


class Dropping(Regression):
    """Draws from every generator there is."""

    def losses(self, phase: str, batch: Points, rng: torch.Generator) -> dict[str, Term]:
        import random

        import numpy as np

        noise = torch.randn(batch.inputs.shape, generator=rng) * 0.1 + random.random() + np.random.rand()
        inputs = F.dropout(batch.inputs + noise, 0.3)
        loss = (self.nets["model"](inputs).squeeze(1) - batch.targets).square().mean()
        return {"loss": Term(loss, count=batch.size)}


def cut(make: Any, settings: Any, *, after: int, **options: Any) -> Any:
    """Train, ask for a stop after so many steps, and go on in new objects."""
    first, record = loop(make(), settings, **options)
    original = first.train

    def train(batch: Any, progress: float) -> None:
        original(batch, progress)
        if first.step == after:
            first.stop.ask()

    first.train = train
    assert first.run() == "interrupted"
    assert first.step == after
    torch.manual_seed(99)
    second, _ = loop(make(), settings, record=Recorder(rows=list(record.rows)), **options)
    restore(second, *copy.deepcopy(record.states[-1]))
    assert second.run() in ("budget", "early stopping")
    return second


@pytest.mark.parametrize("after", [1, 4, 6])  # within the first epoch, at its end, within the second
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ema": 0.9, "optimizer": "adamw", "schedule": "onecycle", "clip_norm": 0.1},
        {"optimizer": "rmsprop", "accumulate": 2, "warmup": 0.3, "evaluate_every": "24samples"},
        {"optimizer": "adadelta", "precision": "bf16"},
    ],
)
def test_n_steps_and_n_more_are_2n_steps(fields: dict[str, Any], after: int) -> None:
    settings = recipe(**({"budget": "3ep", "lr": 0.01} | fields))
    torch.manual_seed(0)
    seed_all()
    whole, _ = loop(Dropping(), settings)
    whole.run()
    seed_all()
    again = cut(Dropping, settings, after=after)
    assert same(weights(whole.task), weights(again.task))
    strip = ("seconds", "samples_per_second")
    assert [{k: v for k, v in row.items() if k not in strip} for row in whole.rows] == [
        {k: v for k, v in row.items() if k not in strip} for row in again.rows
    ]
    for a, b in zip(whole.optimizers["train"].state.values(), again.optimizers["train"].state.values(), strict=True):
        assert all(torch.equal(torch.as_tensor(a[name]), torch.as_tensor(b[name])) for name in a if a[name] is not None)


def seed_all() -> None:
    from corinth.training.checkpoint import seed_everything

    seed_everything(5)
    Dropping()  # building draws too; `cut` builds once before it starts
    seed_everything(5)
