"""How reports show a task: what the module of each task fills in, and what the pages have where it fills in nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from corinth.predictor import Predictor

# What both templates ask for; a task that has some of it puts it in its `Extra.context`.
NEUTRAL: Mapping[str, Any] = MappingProxyType(
    {
        "alignments": (),
        "answers": (),
        "by_label": (),
        "hardest": (),
        "mistakes": (),
        "together": (),
        "typical": (),
        "written": (),
    }
)


@dataclass(frozen=True)
class Extra:
    """A task's own part of a page: figures (name, figure, what of it), values for the template, charts by name."""

    scores: tuple[tuple[str, str, str], ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    charts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A network, and how it did on a part of the data: `found` is its predictor's evaluation."""

    predictor: Any
    data: Any
    part: str
    found: Any


@dataclass(frozen=True)
class Entrant:
    """One architecture of a comparison. Networks and answers are large, so they are read when they are asked for."""

    label: str
    score: float  # of the test part, the mean over seeds
    answers: Callable[[], list[Any]]  # of each seed, as `corinth.compare.jobs` keeps them
    network: Callable[[], Predictor]  # that of the first seed


def _nothing(*_: Any) -> Extra:
    return Extra()


@dataclass(frozen=True)
class Look:
    """`shown(predictor, data, position, score)` is one sample with what the network says of it, which parts.html draws,
    and `hint` says what is seen there; None of classifiers, whose mistakes are shown. `of_run(scored)` and
    `of_comparison(entrants, data)` are what else there is."""

    shown: Callable[[Any, Any, int, float], Any] | None = None
    hint: str = "the truth, and beside it the prediction"
    of_run: Callable[[Scored], Extra] = _nothing
    of_comparison: Callable[[list[Entrant], Any], Extra] = _nothing
