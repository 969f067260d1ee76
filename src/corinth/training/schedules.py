"""Learning-rate schedules: pure functions of the share of the budget that is spent, so every budget anneals fully."""

import math
from typing import Literal, get_args

Schedule = Literal["cosine", "onecycle", "step", "constant"]
SCHEDULES: tuple[str, ...] = get_args(Schedule)


def factor(
    schedule: str,
    progress: float,
    *,
    warmup: float = 0.0,
    step_at: tuple[float, ...] = (0.5, 0.75),
    step_gamma: float = 0.1,
    final: float = 0.0,
) -> float:
    """What the learning rate is multiplied with when `progress` (0 to 1) of the budget is spent.

    `warmup` is the share of the budget over which the rate rises linearly from 0; cosine falls from there to
    `final` at the end. One-cycle (Smith & Topin, arXiv:1708.07120, in the cosine form of fastai) rises from 1/25
    over the warm-up, or 30 % where none is given, and falls to `final`. Step multiplies by `step_gamma` at each
    share in `step_at`.
    """
    progress = min(max(progress, 0.0), 1.0)
    if schedule == "onecycle":
        warmup = warmup or 0.3
        if progress < warmup:
            return _cosine(1 / 25, 1.0, progress / warmup)
        return _cosine(1.0, final, (progress - warmup) / (1 - warmup))
    if progress < warmup:
        return progress / warmup
    match schedule:
        case "constant":
            return 1.0
        case "cosine":
            return _cosine(1.0, final, (progress - warmup) / (1 - warmup))
        case "step":
            return step_gamma ** sum(progress >= at for at in step_at)
        case _:
            raise ValueError(f"schedule {schedule!r} is none of {', '.join(SCHEDULES)}")


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
