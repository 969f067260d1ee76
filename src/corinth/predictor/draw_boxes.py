"""Boxes drawn on an image, with the names of their classes."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LEAST = 480  # pixels of the drawing's longer side: smaller images are enlarged, or no name could be read on them
# Okabe & Ito 2008, "Color Universal Design": told apart by people of every kind of colour vision
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
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

    A class has one of seven colours, by its position in `classes`, and its name beside every box. Lines have a dark
    and a light rim, so that they are seen on any background. An image below 480 pixels is enlarged a whole number of
    times.
    """
    picture = Image.fromarray(image).convert("RGB")
    times = max(1, -(-LEAST // max(picture.size))) if max(picture.size) < LEAST else 1
    picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    thick = max(2, round(max(picture.size) / 320))
    font = ImageFont.load_default(size=max(13, round(max(picture.size) / 45)))
    pen = ImageDraw.Draw(picture)
    for box in sorted(boxes, key=lambda box: box.score or 0.0):
        colour = COLOURS[classes.index(box.label) % len(COLOURS)]
        x1, y1, x2, y2 = (round(value * times) for value in box.corners)
        x2, y2 = max(x1, x2 - 1), max(y1, y2 - 1)  # the last pixel inside
        for rim, ink in ((thick + 2, _LIGHT), (thick + 1, _DARK), (thick, colour)):
            pad = rim - thick
            pen.rectangle((x1 - pad, y1 - pad, x2 + pad, y2 + pad), outline=ink, width=rim + pad)
        said = box.label if box.score is None else f"{box.label} {box.score:.2f}"
        _tag(pen, said, (x1, y1), picture.size, colour, font)
    return picture


def _tag(
    pen: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[int, int],
    size: tuple[int, int],
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """A name on its class's colour, above the corner if there is room, else below it; always within the picture."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 6
    x = max(0, min(corner[0], size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    y = max(0, min(y, size[1] - height))
    pen.rectangle((x, y, x + width, y + height), fill=colour, outline=_DARK)
    pen.text((x + 3 - left, y + 3 - top), text, font=font, fill=_DARK if _luminance(colour) > 100 else _LIGHT)


def _luminance(colour: tuple[int, int, int]) -> float:
    """Of ITU-R 601, 0 to 255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
