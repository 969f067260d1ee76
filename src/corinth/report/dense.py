"""Masks and boxes inside a page: an image with its truth, and with a prediction, drawn on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from corinth.predictor import DensePredictor
from corinth.report.images import data_uri
from corinth.report.look import Extra, Look, Scored
from corinth.report.pictures import last_part

WIDE = 360  # pixels of a scene's longer side


@dataclass(frozen=True)
class Scene:
    """An image with its target and with a prediction drawn on it."""

    name: str
    file: str
    score: float
    truth: str  # data URI
    answer: str  # data URI


def scene(predictor: DensePredictor, data: Any, position: int, score: float) -> Scene:
    pixels, name = data.source.image(position), data.source.name(position)
    truth = predictor.draw(pixels, predictor.truth(data, position))
    answer = predictor.draw(pixels, predictor.predict([pixels])[0])
    pictures = (data_uri(np.asarray(picture), largest=WIDE) for picture in (truth, answer))
    return Scene(name, last_part(name), score, *pictures)


def _counts_boxes(scored: Scored) -> Extra:
    return Extra(context={"support": "Boxes"})


MASKS = Look(scene)
BOXES = Look(scene, of_run=_counts_boxes)
