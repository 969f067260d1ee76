"""Boxes drawn on an image, with the names of their classes."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from corinth.predictor.drawing import colour, enlarged, font_for, tag, tag_size

_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)


class Drawn(Protocol):
    """A box in pixels of the image; a true one has no score."""

    @property
    def label(self) -> str: ...
    @property
    def score(self) -> float | None: ...
    @property
    def corners(self) -> tuple[float, float, float, float]: ...  # x1, y1, x2, y2


def draw(image: np.ndarray, boxes: Sequence[Drawn], classes: Sequence[str]) -> Image.Image:
    """An RGB picture of an image, uint8 (h, w) or (h, w, 3), with `boxes` on it, the best on top.

    A class has a colour by its position in `classes`, and its name beside every box. Lines have a dark
    and a light rim, so that they are seen on any background. An image below 480 pixels is enlarged a whole number of
    times.
    """
    picture = Image.fromarray(image).convert("RGB")
    picture, times = enlarged(picture)
    thick = max(2, round(max(picture.size) / 320))
    font = font_for(picture)
    pen = ImageDraw.Draw(picture)
    for box in sorted(boxes, key=lambda box: box.score or 0.0):
        own = colour(classes.index(box.label))
        x1, y1, x2, y2 = (round(value * times) for value in box.corners)
        x2, y2 = max(x1, x2 - 1), max(y1, y2 - 1)  # the last pixel inside
        for rim, ink in ((thick + 2, _LIGHT), (thick + 1, _DARK), (thick, own)):
            pad = rim - thick
            pen.rectangle((x1 - pad, y1 - pad, x2 + pad, y2 + pad), outline=ink, width=rim + pad)
        said = box.label if box.score is None else f"{box.label} {box.score:.2f}"
        height = tag_size(pen, said, font)[1]
        tag(pen, said, (x1, y1 - height if y1 >= height else y1), picture.size, own, font)
    return picture
