"""Budgets by a clock that the toys move by hand."""

import pytest
from loop_toys import Clock, Regression, loop, recipe


@pytest.mark.parametrize(
    ("budget", "step", "val"),
    [(60.0, 0.05, 0.4), (60.0, 0.3, 1.0), (10.0, 0.02, 0.1), (100.0, 0.5, 9.0), (3600.0, 1.5, 30.0), (5.0, 0.02, 0.0)],
)
def test_a_time_budget_holds_within_two_percent(budget: float, step: float, val: float) -> None:
    """Training, validation and the writing of states are all inside it."""
    clock = Clock()
    task = Regression(clock=clock, step_seconds=step, val_seconds=val)
    made, record = loop(task, recipe(budget=f"{budget}s"), clock=clock)
    write = record.write

    def slow_write(*state: object) -> None:
        clock.now += 0.1
        write(*state)

    made.write = slow_write
    began = clock.now
    assert made.run() == "budget"
    assert 0.98 * budget <= clock.now - began <= 1.005 * budget
    assert record.rows[-1]["samples"] == made.samples
    assert made.lr < 0.02 * made.recipe.lr  # it annealed fully


def test_evaluations_take_a_tenth_of_a_time_budget_at_most() -> None:
    clock = Clock()
    task = Regression(clock=clock, step_seconds=0.1, val_seconds=2.0)
    made, record = loop(task, recipe(budget="100s"), clock=clock)
    made.run()
    spent = 2.0 * (len(record.rows) - 1)
    assert len(record.rows) >= 4
    assert spent <= 0.1 * 100


def test_an_epoch_longer_than_a_time_budget_is_evaluated_in_between() -> None:
    clock = Clock()
    task = Regression(clock=clock, step_seconds=0.5, val_seconds=0.05)
    made, record = loop(task, recipe(budget="60s"), clock=clock, n=8 * 1000)
    made.run()
    assert len(record.rows) >= 10
    assert record.rows[-1]["epoch"] < 1


def test_a_time_budget_goes_on_with_what_was_spent() -> None:
    from corinth.training.resume import restore

    clock = Clock()
    settings = recipe(budget="60s")
    made, record = loop(Regression(clock=clock, step_seconds=0.25, val_seconds=0.5), settings, clock=clock)
    original = made.train

    def train(batch: object, progress: float) -> None:
        original(batch, progress)
        if clock.now - 100 > 20:
            made.stop.ask()

    made.train = train
    assert made.run() == "interrupted"
    spent = clock.now - 100
    clock.now += 1000  # the computer was off
    began = clock.now
    again, _ = loop(Regression(clock=clock, step_seconds=0.25, val_seconds=0.5), settings, clock=clock)
    restore(again, *record.states[-1])
    assert again.run() == "budget"
    assert 0.98 * 60 <= spent + clock.now - began <= 60.1
    assert again.rows[-1]["seconds"] == pytest.approx(60, rel=0.03)


def test_at_least_one_step_is_taken() -> None:
    clock = Clock()
    made, record = loop(Regression(clock=clock, step_seconds=5.0, val_seconds=1.0), recipe(budget="1s"), clock=clock)
    made.run()
    assert made.step == 1
    assert len(record.rows) == 1


def test_states_are_written_as_often_as_asked() -> None:
    clock = Clock()
    task = Regression(clock=clock, step_seconds=1.0)
    made, record = loop(task, recipe(budget="2ep", evaluate_every="2ep", save_every=3.0), clock=clock)
    made.run()
    assert [values["step"] for _, values in record.states] == [0, 3, 6, 8]


def test_a_seconds_interval_of_evaluation() -> None:
    clock = Clock()
    task = Regression(clock=clock, step_seconds=1.0)
    made, record = loop(task, recipe(budget="8ep", evaluate_every="10s"), clock=clock)
    made.run()
    assert [row["step"] for row in record.rows] == [10, 20, 30, 32]


def test_time_left() -> None:
    clock = Clock()
    made, _ = loop(Regression(), recipe(budget="100samples"), clock=clock)
    made.pace.start()
    clock.now += 10
    assert made.pace.seconds_left(25) == pytest.approx(30)
    made, _ = loop(Regression(), recipe(budget="100s"), clock=clock)
    made.pace.start()
    clock.now += 10
    assert made.pace.seconds_left(25) == pytest.approx(90)


def test_progress_stays_below_one_until_the_budget_is_spent() -> None:
    """A batch may be larger than what is left, or than all that is planned."""
    made, _ = loop(Regression(), recipe(budget="20samples", batch_size=64), n=64)
    assert made.pace.due(0).progress == 0.5
    made, _ = loop(Regression(), recipe(budget="36samples", batch_size=32))
    assert [made.pace.due(samples).progress for samples in (0, 32, 36)] == pytest.approx([16 / 36, 34 / 36, 1])
