"""What a page shows of a language model: texts that it wrote, and texts coloured by how much they surprised it."""

from dataclasses import dataclass
from typing import Any

from corinth.data.sequences.language import PASSAGE
from corinth.predictor import LanguageModel, Predictor
from corinth.predictor.language import Foretold
from corinth.report.formats import number
from corinth.report.look import Entrant, Extra, Look, Scored

TEMPERATURES = (0.0, 0.5, 0.8, 1.0)
COMPARED_AT = 0.8  # the temperature of the texts of several networks
LENGTH = 400  # tokens of a text that is written for a page
STRETCH = 1200  # characters of the text that are shown in one go
BEFORE = 2 * PASSAGE  # characters that are read before what is shown
LEVELS = (0.5, 0.1, 0.01, 0.001)  # probabilities that are the ends of the shades
LEGEND = ("over 50 %", "10 to 50 %", "1 to 10 %", "0.1 to 1 %", "under 0.1 %")


@dataclass(frozen=True)
class Coloured:
    """A text in pieces: the characters, the shade (0 not surprising at all, 4 very; none of what nothing foretold),
    and what is said of it in words."""

    name: str
    score: float | None
    pieces: tuple[tuple[str, int | None, str], ...]


@dataclass(frozen=True)
class Written:
    """A text that a network wrote."""

    title: str
    text: str


def coloured(
    predictor: LanguageModel, name: str, text: str, *, before: str = "", score: float | None = None
) -> Coloured:
    """`before` is what the network reads first, unseen."""
    found = predictor.foretell(text, before=before)
    return Coloured(name, score, tuple((entry.piece, _shade(entry), _said(entry)) for entry in found))


def coloured_passage(predictor: LanguageModel, data: Any, position: int, score: float) -> Coloured:
    """A passage of the data, for which the network has read the end of what comes before it in the same part."""
    rows = next(rows for rows in data.splits.values() if position in rows)
    earlier = [int(row) for row in rows if position - 3 <= row < position]
    before = "".join(data.source.passages[row] for row in earlier)[-BEFORE:]
    return coloured(predictor, data.source.name(position), data.source.passages[position], before=before, score=score)


def coloured_stretch(predictor: LanguageModel, data: Any, part: str) -> Coloured:
    """From the middle of a part."""
    rows = data.positions(part)
    middle = max(0, len(rows) // 2 - 2)
    text = "".join(data.source.passages[row] for row in rows[middle : middle + 1 + STRETCH // PASSAGE])[:STRETCH]
    before = "".join(data.source.passages[row] for row in rows[max(0, middle - 3) : middle])[-BEFORE:]
    return coloured(predictor, data.source.name(int(rows[middle])), text, before=before)


def written(predictor: Predictor, temperatures: tuple[float, ...] = TEMPERATURES) -> list[Written]:
    """A text at each temperature, begun at the beginning of a line."""
    assert isinstance(predictor, LanguageModel)
    texts = [(t, predictor.generate(length=LENGTH, temperature=t)[0].text) for t in temperatures]
    return [Written("Always the likeliest" if t == 0 else f"Temperature {t:g}", text) for t, text in texts]


def _shade(entry: Foretold) -> int | None:
    return None if entry.probability is None else sum(entry.probability < level for level in LEVELS)


def _said(entry: Foretold) -> str:
    """Such as "e had 12 %; likeliest were a 40 %, o 20 %"."""
    if entry.probability is None:
        return "nothing foretold it"
    likeliest = ", ".join(f"{_visible(piece)} {_share(p)}" for piece, p in entry.likeliest)
    return f"{_visible(entry.piece)} had {_share(entry.probability)}; likeliest were {likeliest}"


def _share(probability: float) -> str:
    percent = 100 * probability
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1g} %"


def _visible(piece: str) -> str:
    return {" ": "a blank", "\n": "a line end", "\t": "a tab"}.get(piece, piece)


def _of_run(scored: Scored) -> Extra:
    facts = scored.found.to_dict()
    scores = (
        ("Bits per character", number(facts["bits_per_character"]), f"{facts['characters']:,} characters"),
        ("Perplexity", number(facts["perplexity"]), f"of {facts['tokens']:,} tokens"),
    )
    stretch = coloured_stretch(scored.predictor, scored.data, scored.part)
    return Extra(scores, {"written": written(scored.predictor), "stretch": stretch, "legend": LEGEND})


def _of_comparison(entrants: list[Entrant], data: Any) -> Extra:
    """A text that each architecture writes."""
    texts = [(entrant, written(entrant.network(), (COMPARED_AT,))[0]) for entrant in entrants]
    return Extra(context={"written": texts, "legend": LEGEND})


LOOK = Look(
    coloured_passage,
    hint="shaded by the probability that each character had where it stands",
    of_run=_of_run,
    of_comparison=_of_comparison,
)
