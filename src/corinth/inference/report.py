"""What `optimize` did, step by step, and what each step gained."""

import dataclasses
from dataclasses import dataclass
from typing import Any

MEMORY = "freed memory kept"  # the step that changes the process and not the form


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change that was tried. Times and gain are None where it could not be tried at all.

    Milliseconds of one call on the example, medians of rounds in which the forms without and with it take turns;
    `gain` is the median of their ratios. `difference` is the largest difference of the outputs to the original's,
    as a share of the largest output.
    """

    name: str
    kept: bool
    reason: str
    before_ms: float | None = None
    after_ms: float | None = None
    gain: float | None = None
    difference: float | None = None


@dataclass(frozen=True, kw_only=True)
class OptimizationReport:
    """All steps, and the result against the original model as it was given, both with freed memory kept if that is."""

    steps: tuple[Step, ...]
    before_ms: float
    after_ms: float
    gain: float  # original over result, measured against each other in the end
    difference: float  # largest, of the largest output
    tolerance: float  # that `difference` may reach
    agreement: float  # share of the example's images, or of their pixels, with the same likeliest class
    precision: str
    shape: tuple[int, ...]  # of the example (B, C, H, W)
    machine: str
    threads: int

    @property
    def form(self) -> str:
        """The step that made the form that was chosen, by its name."""
        kept = [step.name for step in self.steps if step.kept and step.name != MEMORY]
        return kept[-1] if kept else "the model as it is"

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        batch, *size = self.shape
        images = f"{batch} image{'s' if batch != 1 else ''} of {'x'.join(map(str, size))}"
        head = f"{images}, {self.precision}, {self.threads} thread{'s' if self.threads != 1 else ''}, {self.machine}"
        wide = max(len(step.name) for step in self.steps) if self.steps else 0
        rows = [f"  {step.name:{wide}}  {_times(step)}  {_verdict(step)}" for step in self.steps]
        alike = ", both with freed memory kept" if any(step.kept and step.name == MEMORY for step in self.steps) else ""
        end = (
            f"{self.before_ms:.2f} ms before, {self.after_ms:.2f} ms after{alike}: {self.gain:.2f} times as fast; "
            f"outputs differ by {self.difference:.1e} of the largest (tolerance {self.tolerance:.0e}), "
            f"{self.agreement:.1%} of the likeliest classes agree"
        )
        return "\n".join([head, *rows, end])


def first_line(error: Exception) -> str:
    """Of its message, for the reason of a step."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _times(step: Step) -> str:
    if step.before_ms is None or step.after_ms is None or step.gain is None:
        return " " * 33
    return f"{step.before_ms:9.2f} -> {step.after_ms:9.2f} ms  {step.gain:5.2f}x"


def _verdict(step: Step) -> str:
    return f"{'kept' if step.kept else 'dropped'}: {step.reason}"
