"""Sentences with their tags inside a page."""

from dataclasses import dataclass
from typing import Any

from corinth.predictor import Tagger
from corinth.report.formats import percent
from corinth.report.look import Extra, Look, Scored


@dataclass(frozen=True)
class TaggedSentence:
    """The words of a sentence with what they are, and what they were called where that is something else."""

    name: str
    score: float
    words: tuple[tuple[str, str, str | None], ...]  # word, true tag, wrong tag


def tagged_sentence(predictor: Tagger, data: Any, position: int, score: float) -> TaggedSentence:
    words = data.source.sequence(position)
    true = [data.classes[tag] for tag in data.source.target(position)]
    (said,) = predictor.predict([words])
    rows = ((word, a, None if a == b else b) for word, a, b in zip(words, true, said.tags, strict=True))
    return TaggedSentence(data.source.name(position), score, tuple(rows))


def _of_run(scored: Scored) -> Extra:
    """Of whole entities, by which the checkpoint is chosen where tags have some."""
    context, entities = {"support": "Words"}, scored.found.entities
    if entities is None:
        return Extra(context=context)
    parts = f"precision {percent(entities.precision)}, recall {percent(entities.recall)}"
    return Extra((("F1 of entities", percent(entities.f1), parts),), context)


LOOK = Look(
    tagged_sentence,
    hint="each word with its tag; where it was called something else, that is struck out",
    of_run=_of_run,
)
