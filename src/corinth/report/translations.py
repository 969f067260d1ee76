"""Translations inside a page: beside their references, and where the network looked as it wrote them."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from markupsafe import Markup

from corinth.predictor import Translator
from corinth.report.formats import percent
from corinth.report.look import Entrant, Extra, Look, Scored

CELL, LETTER, MARGIN = 22, 7.2, 8  # of a drawing: sides of a cell, width of a letter, distance of labels
LONGEST = 40  # tokens of a sentence whose alignment is still drawn
TOGETHER = 4  # of the hardest sentences, and as many in the middle, that are shown by each network


@dataclass(frozen=True)
class ShownTranslation:
    """A sentence, its reference and what a network made of it."""

    name: str
    score: float
    source: str
    reference: str
    answer: str


@dataclass(frozen=True)
class ShownAlignment:
    """Where a network looked, as a drawing; for readers without eyes, in words."""

    drawing: Markup
    source: str
    answer: str


@dataclass(frozen=True)
class Together:
    """A sentence with what each of several networks made of it: label, text, score."""

    name: str
    source: str
    reference: str
    answers: tuple[tuple[str, str, float], ...]


def translated(predictor: Translator, data: Any, position: int, score: float) -> ShownTranslation:
    source, (said,) = data.source, predictor.predict([data.source.texts[position]])
    return ShownTranslation(
        source.name(position), score, source.texts[position], source.translations[position], said.translation
    )


def typical(scores: np.ndarray, most: int) -> np.ndarray:
    """The places of the scores (N,) in the middle of their order."""
    order = np.argsort(scores, kind="stable")
    start = max(0, (len(order) - most) // 2)
    return order[start : start + most]


def typical_translations(
    predictor: Translator, data: Any, index: np.ndarray, scores: np.ndarray, most: int
) -> list[ShownTranslation]:
    """Sentences that the network does neither well nor badly on."""
    return [translated(predictor, data, int(index[i]), float(scores[i])) for i in typical(scores, most)]


def alignments(predictor: Translator, data: Any, positions: Sequence[int], most: int) -> list[ShownAlignment]:
    """Drawings of the first sentences that are short enough; none of a network without attention."""
    found: list[ShownAlignment] = []
    for position in positions:
        text = data.source.texts[position]
        (said,) = predictor.predict([text])
        columns, rows = predictor.preprocess.pieces(text), predictor.preprocess.target_pieces(said.tokens)
        if len(found) == most or max(len(columns), len(rows)) > LONGEST or not rows:
            continue
        weights = predictor.alignment(text, said.tokens)
        if weights is None:
            return []
        found.append(ShownAlignment(heatmap(weights.numpy(), columns, rows), text, said.translation))
    return found


def heatmap(weights: np.ndarray, columns: Sequence[str], rows: Sequence[str]) -> Markup:
    """An SVG of weights (T, S), each row of which adds up to 1: the stronger, the more weight. Its colours are the
    page's, light or dark."""
    left = MARGIN + LETTER * max(map(len, rows)) + MARGIN
    top = MARGIN + LETTER * max(map(len, columns)) + MARGIN
    width, height = left + CELL * len(columns) + MARGIN, top + CELL * len(rows) + MARGIN
    parts = []
    for i, word in enumerate(columns):
        x = left + CELL * (i + 0.5)
        parts.append(f'<text transform="translate({x + 4:.1f} {top - 6:.1f}) rotate(-90)">{escape(word)}</text>')
    for j, word in enumerate(rows):
        y = top + CELL * (j + 0.5)
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(word)}</text>')
        for i, word_there in enumerate(columns):
            title = f"{word} looks at {word_there}: {weights[j, i]:.0%}"
            parts.append(
                f'<rect x="{left + CELL * i + 1:.1f}" y="{y - CELL / 2 + 1:.1f}" width="{CELL - 2}" '
                f'height="{CELL - 2}" fill-opacity="{max(0.04, float(weights[j, i])):.3f}"><title>{escape(title)}'
                "</title></rect>"
            )
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return Markup(f'<svg class="alignment" role="img" {box}>{"".join(parts)}</svg>')  # every text in it is escaped


def together(entrants: list[Entrant], data: Any) -> list[Together]:
    """The same sentences as each network translates them: the hardest of all, and some in the middle."""
    found = {entrant.label: entrant.answers()[0] for entrant in entrants}
    index = next(iter(found.values())).index
    mean = np.mean([answers.score for answers in found.values()], axis=0)
    first = {data.source.texts[position]: place for place, position in reversed(list(enumerate(index.tolist())))}
    places = np.array(sorted(first.values()))  # of sentences that are alike, one
    mean = mean[places]
    places = places[[*np.argsort(mean, kind="stable")[:TOGETHER], *typical(mean, TOGETHER)]]
    texts = [data.source.texts[int(index[place])] for place in places]
    said: dict[str, Any] = {}
    for entrant in entrants:
        network: Any = entrant.network()
        said[entrant.label] = network.predict(texts)
    return [
        Together(
            name=data.source.name(int(index[place])),
            source=text,
            reference=data.source.translations[int(index[place])],
            answers=tuple((label, said[label][i].translation, float(found[label].score[place])) for label in said),
        )
        for i, (place, text) in enumerate(zip(places, texts))
    ]


def _of_run(scored: Scored) -> Extra:
    """How BLEU was computed, how well the next token is foreseen, and sentences in the middle."""
    predictor, data, found = scored.predictor, scored.data, scored.found
    scores = (
        ("Loss", f"{found.loss:.3f}", f"nats a token; {percent(found.accuracy)} of tokens are the likeliest"),
        ("Search", f"beam {found.beam}", found.signature.replace("|", " ")),
    )
    middle = [int(found.index[i]) for i in typical(found.per_sample, 40)]
    context = {
        "typical": typical_translations(predictor, data, found.index, found.per_sample, most=6),
        "alignments": alignments(predictor, data, middle, most=3),
    }
    return Extra(scores, context)


def _of_comparison(entrants: list[Entrant], data: Any) -> Extra:
    return Extra(context={"together": together(entrants, data)})


LOOK = Look(
    translated,
    hint="the text, its translation in the data, and that of the network",
    of_run=_of_run,
    of_comparison=_of_comparison,
)
