"""When to evaluate, to save and to stop: everything that looks at the clock or counts samples against the budget."""

import statistics
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from corinth.training.budget import Budget

SHARE_OF_EVALUATIONS = 0.1  # of a time budget, at most
EVALUATIONS_OF_TIME_BUDGET = 20  # at least so many where they fit, though an epoch be longer


@dataclass(frozen=True)
class Due:
    """What to do next; `progress` in [0, 1] is the share of the budget that half of the next step will have spent."""

    progress: float
    evaluate: bool = False
    save: bool = False
    stop: bool = False


class Pace:
    """The clock covers training steps, validation and the writing of checkpoints.

    `samples_planned` is None for a time budget of `seconds_planned`. A time budget is kept by holding back what one
    more step, the last validation and the last writing will take, as measured so far; before the first validation
    that is guessed from the training speed, a forward pass being a third of a step.
    """

    def __init__(
        self,
        *,
        samples_planned: float | None,
        seconds_planned: float | None,
        evaluate_every: Budget,
        save_every: float,
        samples_per_epoch: int,
        batch_size: int,
        val_samples: int,
        clock: Callable[[], float],
    ) -> None:
        self.samples_planned = samples_planned
        self.seconds_planned = seconds_planned
        self.evaluate_samples = evaluate_every.samples(samples_per_epoch, macs_per_sample=1)
        self.evaluate_seconds = evaluate_every.amount if self.evaluate_samples is None else None
        self.save_every = save_every
        self.batch_size = batch_size
        self.val_samples = val_samples
        self.clock = clock
        self.steps: deque[float] = deque(maxlen=8)  # seconds of the latest training steps
        self.closings: deque[float] = deque(maxlen=3)  # seconds of the latest evaluations, writing included
        self.writing = 0.0  # seconds of the latest resume state
        self.training_seconds = 0.0
        self._progress = 0.0
        self._evaluated_samples = 0
        self._spent = 0.0  # by an earlier session of the same run
        self._evaluated_at = 0.0
        self.start()

    def start(self) -> None:
        """Start the clock; with what an earlier session of the same run has spent, after `load_state`."""
        self._zero = self.clock() - self._spent
        self._saved_at = self._spent
        self._step_began: float | None = None  # no step yet

    @property
    def seconds(self) -> float:
        return self.clock() - self._zero

    def due(self, samples: int) -> Due:
        """What follows the step that brought the count to `samples`."""
        now = self.seconds
        if self._step_began is not None:
            self.steps.append(now - self._step_began)
            self.training_seconds += now - self._step_began
        self._step_began = now
        if self.seconds_planned is None:
            planned = float(self.samples_planned or 1)
            spent = samples + max(min(self.batch_size, planned - samples), 0) / 2
            stop = samples >= planned
        else:
            step = self.step_seconds
            planned = max(self.seconds_planned - self.closing - step, 1e-9)
            spent = now + step / 2
            stop = samples > 0 and now >= planned
        self._progress = max(self._progress, min(spent / planned, 1.0))
        return Due(
            progress=self._progress,
            evaluate=not stop and self._evaluation_due(samples, now),
            save=now - self._saved_at >= self.save_every,
            stop=stop,
        )

    @property
    def closing(self) -> float:
        """Seconds that the last evaluation will take, with what it writes."""
        if self.closings:
            return statistics.median_high(self.closings)
        return 2 * self.writing + self.step_seconds / 3 * self.val_samples / self.batch_size

    @property
    def step_seconds(self) -> float:
        return statistics.median_high(self.steps) if self.steps else 0.0

    def seconds_left(self, samples: int) -> float:
        """An estimate, from the speed so far."""
        if self.seconds_planned is not None:
            return max(self.seconds_planned - self.seconds, 0.0)
        return self.seconds * max((self.samples_planned or 0) - samples, 0) / max(samples, 1)

    def _evaluation_due(self, samples: int, now: float) -> bool:
        since = now - self._evaluated_at
        if self.evaluate_samples is not None:
            due = samples // self.evaluate_samples > self._evaluated_samples // self.evaluate_samples
        else:
            due = since >= (self.evaluate_seconds or 0.0)
        if self.seconds_planned is None:
            return due
        due = due or since >= self.seconds_planned / EVALUATIONS_OF_TIME_BUDGET
        fits = now + 2 * self.closing + 2 * self.step_seconds < self.seconds_planned
        return due and fits and self.closing <= SHARE_OF_EVALUATIONS * (since + self.closing)

    @contextmanager
    def evaluating(self, samples: int) -> Generator[None]:
        """Around an evaluation and what it writes."""
        began = self._evaluated_at = self.seconds
        self._evaluated_samples = samples  # the state that is written within must know of this evaluation
        yield
        self._step_began = self._evaluated_at = self._saved_at = self.seconds
        self.closings.append(self.seconds - began)

    @contextmanager
    def saving(self) -> Generator[None]:
        """Around the writing of a resume state alone."""
        began = self.seconds
        yield
        self._step_began = self._saved_at = self.seconds
        self.writing = self.seconds - began

    def state(self) -> dict[str, float]:
        return {
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
            "evaluated_samples": self._evaluated_samples,
            "evaluated_at": self._evaluated_at,
            "progress": self._progress,
            "closing": self.closing if self.closings else 0.0,
        }

    def load_state(self, state: Mapping[str, float]) -> None:
        """Go on with the clock of an earlier session of the same run."""
        self._spent = state["seconds"]
        self.start()
        self.training_seconds = state["training_seconds"]
        self._evaluated_samples = int(state["evaluated_samples"])
        self._evaluated_at = state["evaluated_at"]
        self._progress = state["progress"] if self.seconds_planned is not None else 0.0
        if state["closing"]:
            self.closings.append(state["closing"])
