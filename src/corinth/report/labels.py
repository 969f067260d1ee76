"""Texts of labels inside a page: some that a network wrote of each, and those of the data that surprised it most."""

from dataclasses import dataclass
from typing import Any

from corinth.predictor import LabelWriter, Predictor
from corinth.report.formats import number
from corinth.report.look import Entrant, Extra, Look, Scored

SAMPLES = 5  # texts of a label
MOST_LABELS = 20


@dataclass(frozen=True)
class LabelledText:
    """A text of the data with its label."""

    name: str
    score: float
    label: str
    text: str


def labelled(predictor: LabelWriter, data: Any, position: int, score: float) -> LabelledText:
    source = data.source
    return LabelledText(source.name(position), score, data.classes[source.labels[position]], source.texts[position])


def written(predictor: Predictor) -> list[tuple[str, list[str]]]:
    """Texts of each label, of the first labels where there are many."""
    assert isinstance(predictor, LabelWriter)
    labels = predictor.classes[:MOST_LABELS]
    return [(label, [text.text for text in predictor.generate(label, count=SAMPLES)]) for label in labels]


def _of_run(scored: Scored) -> Extra:
    facts = scored.found.to_dict()
    scores = (
        ("Perplexity", number(facts["perplexity"]), f"of {facts['tokens']:,} tokens"),
        ("Nats per character", number(facts["nats_per_character"]), "whatever a token is"),
        ("Unknown words", f"{facts['unknown_tokens']:,}", "each counts as one token"),
    )
    return Extra(scores, {"by_label": written(scored.predictor)})


def _of_comparison(entrants: list[Entrant], data: Any) -> Extra:
    return Extra(context={"by_label": [(entrant, written(entrant.network())) for entrant in entrants]})


LOOK = Look(labelled, hint="the label, and the text of the data", of_run=_of_run, of_comparison=_of_comparison)
