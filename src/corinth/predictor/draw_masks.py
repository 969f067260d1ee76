"""Masks drawn on their images, with the names of the classes, and masks as palette PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from corinth.data.preprocess import IGNORED
from corinth.errors import DataError
from corinth.predictor.drawing import Font, colour, enlarged, font_for, save, tag, tag_size

OPACITY = 0.5
NAMED = 0.01  # of the image that a region must cover for its name to stand in it
BACKGROUNDS = frozenset({"background", "unlabelled", "unlabeled", "void", "none", "_background_"})


def draw(image: np.ndarray, mask: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """An RGB picture of an image, uint8 (h, w) or (h, w, 3), under its mask, uint8 (h, w) class ids.

    Regions are tinted and rimmed in the colour of their class, the largest one of each class has its name in it, and
    a key of all classes that occur stands below. A class called background, the first of two classes and pixels of
    255 keep the image's own colours. An image below 480 pixels is enlarged a whole number of times.
    """
    if image.shape[:2] != mask.shape:
        raise DataError(f"a mask of {mask.shape} pixels does not fit an image of {image.shape[:2]}")
    plain = [number for number in range(len(classes)) if _is_background(number, classes)]
    shown = np.isin(mask, [*plain, IGNORED], invert=True)
    tint = np.array([colour(number) for number in range(256)], dtype=np.float32)[mask]
    pixels = np.asarray(Image.fromarray(image).convert("RGB"), dtype=np.float32)
    share = np.where(_rims(mask), 1.0, OPACITY) * shown
    blended = pixels + (tint - pixels) * share[..., None]
    picture, times = enlarged(Image.fromarray(blended.round().astype(np.uint8)))
    font = font_for(picture)
    pen = ImageDraw.Draw(picture)
    present = [number for number in np.unique(mask).tolist() if number < len(classes)]
    for number in present:
        if number not in plain and (place := _middle(mask == number)) is not None:
            width, height = tag_size(pen, classes[number], font)
            corner = ((place[1] + 0.5) * times - width / 2, (place[0] + 0.5) * times - height / 2)
            tag(pen, classes[number], corner, picture.size, colour(number), font)
    return _with_key(picture, [(classes[n], None if n in plain else colour(n)) for n in present], font)


def write_mask(path: str | Path, mask: np.ndarray, num_classes: int) -> None:
    """Save class ids, uint8 (h, w), as a palette PNG: the pixels are the ids, the palette has the drawing's colours."""
    values = np.unique(mask)
    if mask.dtype != np.uint8 or mask.ndim != 2 or ((values >= num_classes) & (values != IGNORED)).any():
        raise DataError(
            f"a mask is uint8 (h, w) of ids below {num_classes} or {IGNORED}, not {mask.dtype} {mask.shape}"
        )
    image = Image.fromarray(mask)
    image.putpalette(
        [band for number in range(256) for band in (colour(number) if number < num_classes else (0, 0, 0))]
    )
    save(image, path)


def _is_background(number: int, classes: Sequence[str]) -> bool:
    return classes[number].lower() in BACKGROUNDS or (number == 0 and len(classes) == 2)


def _rims(mask: np.ndarray) -> np.ndarray:
    """Pixels with another class to the right or below."""
    rims = np.zeros(mask.shape, dtype=bool)
    rims[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    rims[:-1] |= mask[:-1] != mask[1:]
    return rims


def _middle(region: np.ndarray) -> tuple[int, int] | None:
    """The innermost pixel (row, column) of the largest connected part, if that is large enough for a name."""
    parts, count = ndimage.label(region)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())[1:]
    if sizes.max() < NAMED * region.size:
        return None
    inside = np.pad(parts == sizes.argmax() + 1, 1)
    depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), region.shape)
    return int(row), int(column)


def _with_key(
    picture: Image.Image,
    entries: Sequence[tuple[str, tuple[int, int, int] | None]],
    font: Font,
) -> Image.Image:
    """The picture with rows of colours and names below it; without a colour there is an empty frame."""
    measure = ImageDraw.Draw(picture)
    side = round(measure.textbbox((0, 0), "Xg", font=font)[3])
    line, gap = side + 8, side
    places: list[tuple[int, int]] = []
    x = y = 0
    for name, _ in entries:
        width = side + 6 + round(measure.textlength(name, font=font)) + gap
        if x and x + width > picture.width:
            x, y = 0, y + line
        places.append((x, y))
        x += width
    whole = Image.new("RGB", (picture.width, picture.height + (y + line + 4 if entries else 0)), "white")
    whole.paste(picture)
    pen = ImageDraw.Draw(whole)
    for (name, fill), (left, top) in zip(entries, places):
        top += picture.height + 4
        pen.rectangle((left + 4, top, left + 4 + side, top + side), fill=fill, outline=(0, 0, 0))
        pen.text((left + side + 10, top), name, font=font, fill=(0, 0, 0))
    return whole
