"""Captions inside a page: beside their pictures and the captions that the data have."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from corinth.predictor import Captioner
from corinth.report.formats import percent
from corinth.report.images import data_uri
from corinth.report.look import Entrant, Extra, Look, Scored
from corinth.report.pictures import last_part
from corinth.report.translations import TOGETHER, typical

SMALL = 64  # pixels of a picture's longer side, up to which its pixels are shown as they are
SHOWN = 192  # pixels of the longer side that a page keeps of a picture
MOST_REFERENCES = 5


@dataclass(frozen=True)
class ShownCaption:
    """A picture, what the data say of it and what a network says."""

    name: str
    file: str
    score: float
    picture: str  # data URI
    small: bool
    references: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class PictureTogether:
    """A picture with what each of several networks says of it: label, caption, score."""

    name: str
    file: str
    picture: str
    small: bool
    references: tuple[str, ...]
    answers: tuple[tuple[str, str, float], ...]


def _picture(data: Any, position: int) -> dict[str, Any]:
    """What both have of a picture."""
    pixels, name = data.source.image(position), data.source.name(position)
    return {
        "name": name,
        "file": last_part(name),
        "picture": data_uri(pixels, largest=SHOWN),
        "small": max(pixels.shape[:2]) <= SMALL,
        "references": data.source.captions[position][:MOST_REFERENCES],
    }


def captioned(predictor: Captioner, data: Any, position: int, score: float) -> ShownCaption:
    (said,) = predictor.predict([data.source.image(position)])
    return ShownCaption(**_picture(data, position), score=score, answer=said.caption)


def together(entrants: list[Entrant], data: Any) -> list[PictureTogether]:
    """The same pictures as each network describes them: the hardest of all, and some in the middle."""
    found = {entrant.label: entrant.answers()[0] for entrant in entrants}
    index = next(iter(found.values())).index
    mean = np.mean([answers.score for answers in found.values()], axis=0)
    hardest, middle = np.argsort(mean, kind="stable")[:TOGETHER].tolist(), typical(mean, TOGETHER).tolist()
    places = list(dict.fromkeys([*hardest, *middle]))
    pictures = [data.source.image(int(index[place])) for place in places]
    said: dict[str, Any] = {}
    for entrant in entrants:
        network: Any = entrant.network()
        said[entrant.label] = network.predict(pictures)
    return [
        PictureTogether(
            **_picture(data, int(index[place])),
            answers=tuple((label, said[label][i].caption, float(found[label].score[place])) for label in said),
        )
        for i, place in enumerate(places)
    ]


def _of_run(scored: Scored) -> Extra:
    """BLEU and how it was computed, how many captions are exact, and pictures in the middle."""
    found = scored.found
    scores = (
        ("BLEU", percent(found.bleu), found.signature.replace("|", " ")),
        ("Exact", percent(found.exact), "of captions are one of the picture's own"),
        ("Loss", f"{found.loss:.3f}", f"nats a token; {percent(found.accuracy)} of tokens are the likeliest"),
        ("Search", f"beam {found.beam}", found.chrf_signature.replace("|", " ")),
    )
    middle = [
        captioned(scored.predictor, scored.data, int(found.index[i]), float(found.per_sample[i]))
        for i in typical(found.per_sample, 8)
    ]
    return Extra(scores, {"typical": middle})


def _of_comparison(entrants: list[Entrant], data: Any) -> Extra:
    return Extra(context={"together": together(entrants, data)})


LOOK = Look(
    captioned,
    hint="the caption of the network, below it those of the data",
    of_run=_of_run,
    of_comparison=_of_comparison,
)
