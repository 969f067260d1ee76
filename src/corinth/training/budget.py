"""What a training may spend: epochs, samples, seconds or floating-point operations."""

import re
from dataclasses import dataclass

from corinth.errors import UsageError

KINDS = {"ep": "epochs", "s": "seconds", "samples": "samples", "flops": "floating-point operations"}
PASSES = 3  # a training step costs about three forward passes: the forward one, and twice that backward


@dataclass(frozen=True)
class Budget:
    """So many `ep` (epochs), `s` (seconds), `samples` or `flops`."""

    amount: float
    kind: str

    def __str__(self) -> str:
        return f"{self.amount:.12g}{self.kind}"

    def samples(self, samples_per_epoch: int, macs_per_sample: int) -> float | None:
        """The number of training samples this buys, at least 1; None for a time budget, which cannot tell.

        A floating-point budget counts 2 operations a multiply-add and three forward passes a training sample.
        """
        match self.kind:
            case "ep":
                return max(1, round(self.amount * samples_per_epoch))
            case "samples":
                return max(1, round(self.amount))
            case "flops":
                return max(1, int(self.amount // (2 * PASSES * macs_per_sample)))
            case _:
                return None


def parse_budget(text: str, *, field: str = "budget", kinds: tuple[str, ...] = tuple(KINDS)) -> Budget:
    """`"20ep"`, `"60s"`, `"2e6samples"`, `"1e15flops"`."""
    valid = f"a number and {', '.join(f'{kind} ({KINDS[kind]})' for kind in kinds)}, such as 20ep or 60s"
    match = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]+)\s*", str(text).lower())
    if match is None or match[2] not in kinds:
        raise UsageError(f"{field} {text!r} is not understood; give {valid}")
    try:
        amount = float(match[1])
    except ValueError:
        amount = 0.0
    if not 0 < amount < float("inf"):
        raise UsageError(f"{field} {text!r} is not a positive amount; give {valid}")
    return Budget(amount, match[2])
