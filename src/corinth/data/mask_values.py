"""What the values of masks mean: class ids, black and white, or colours of a table; and the names of the classes."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from corinth.data.decode import UnreadableImage, opened
from corinth.data.preprocess import IGNORED
from corinth.errors import DataError

NAME_FILES = ("classes.txt", "codes.txt", "class_names.txt", "names.txt", "labels.txt")
COLOUR_FILES = ("class_dict.csv", "label_colors.txt", "labelmap.txt")
MOST_UNNAMED = 100  # classes that ids alone may speak of; more are rather shades of grey
_NUMBERED = re.compile(r"(\d+)[\s:,]+(\S.*)")
_COLOUR_LINE = re.compile(r"(\d+)\s+(\d+)\s+(\d+)\s+(\S.*)")  # label_colors.txt of CamVid
_CVAT_LINE = re.compile(r"([^#:][^:]*):(\d+),(\d+),(\d+):.*")  # labelmap.txt of CVAT: name:r,g,b:parts:actions


@dataclass(frozen=True)
class Legend:
    """The names of the classes and, of colour masks, their colours; both from one of the files above."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] | None = None
    file: str = ""


def find_legend(folder: Path) -> Legend | None:
    """What a file in `folder` says of the classes; None if there is none. `DataError` for one that makes no sense."""
    for name in COLOUR_FILES:
        if (file := folder / name).is_file():
            return _colours(file)
    for name in NAME_FILES:
        if (file := folder / name).is_file():
            return _names(file)
    return None


def read_values(path: str, legend: Legend | None) -> np.ndarray:
    """The values of a mask, uint8 (h, w): class ids as they stand there, or those of a colour table.

    Palette images give their indices, or where all their colours are in the table, the ids of these; black-and-white
    ones give 0 and 1; colours that are shades of grey are their level.
    Raises `UnreadableImage` for damage, for lossy files, for colours without a meaning and for ids above 255.
    """
    with opened(path) as image:
        if image.format == "JPEG":
            raise UnreadableImage("a JPEG changes the ids of pixels; save masks as PNG")
        if image.mode in ("1", "L", "P"):
            values = np.asarray(image).astype(np.uint8)
            if image.mode == "P" and legend is not None and legend.colours is not None:
                return _of_palette(values, image, legend.colours)
            return values
        if image.mode.startswith("I"):
            values = np.asarray(image)
            if values.min() < 0 or values.max() > IGNORED:
                raise UnreadableImage(f"it has the id {int(values.max())}; ids are 0 to {IGNORED}")
            return values.astype(np.uint8)
        if image.mode == "LA":
            return np.asarray(image)[..., 0]
        pixels = np.asarray(image.convert("RGB"))
    if legend is not None and legend.colours is not None:
        return _looked_up(pixels, legend.colours, legend.file)
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    raise UnreadableImage(
        f"its colours have no meaning here; add {COLOUR_FILES[0]} with the columns name, r, g, b, or save class ids"
    )


def mask_size(path: str) -> tuple[int, int]:
    """(h, w) of a mask, from its header. Raises `UnreadableImage`."""
    with opened(path) as image:
        return image.height, image.width


def meaning(counts: np.ndarray, legend: Legend | None, where: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the classes and the id of each value, uint8 (256,), from how often each value occurs, (256,).

    Nothing but 0 and 255 is black and white: two classes. Values that cannot be ids and all are grey levels of the
    colour table stand for its colours. Else values are ids and 255 is ignored; without names there are as many classes
    as the largest id tells. Values that are no class have the id 254.
    """
    table = np.full(256, OUTSIDE, dtype=np.uint8)
    table[IGNORED] = IGNORED
    used = np.flatnonzero(counts)
    binary = set(used.tolist()) <= {0, 255} and counts[255] > 0
    coloured = legend is not None and legend.colours is not None
    if binary and not coloured and (legend is None or len(legend.names) == 2):
        table[[0, 255]] = 0, 1
        return (legend.names if legend is not None else ("0", "1")), table
    if legend is not None and legend.colours is not None:
        levels = {red: number for number, (red, *rest) in enumerate(legend.colours) if rest == [red, red]}
        seen = set(used.tolist())
        if seen - {IGNORED} <= levels.keys() and any(level >= len(legend.names) for level in seen & levels.keys()):
            table[list(levels)] = list(levels.values())
            return legend.names, table
    if legend is not None:
        names = legend.names
    else:
        largest = int(used[used != IGNORED].max(initial=0))
        if largest >= MOST_UNNAMED:
            raise DataError(
                f"{where}: masks have the value {largest}, so they seem to hold shades and not class ids; ids count "
                f"from 0, or add {NAME_FILES[0]} with one class name a line if there are so many classes"
            )
        names = tuple(str(number) for number in range(largest + 1))
    table[: len(names)] = np.arange(len(names))
    return names, table


OUTSIDE = 254  # in a table of meanings: no class


def _of_palette(values: np.ndarray, image: Image.Image, colours: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """Ids of the colours that the indices stand for; the indices themselves where one of them has another colour.

    The index 255 of a colour that is not in the table stays what is ignored, as Pascal VOC's borders of objects are.
    """
    palette = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    ids = np.arange(256, dtype=np.uint8)
    known = {colour: number for number, colour in enumerate(colours)}
    for value in np.unique(values).tolist():
        number = known.get(tuple(palette[value].tolist())) if value < len(palette) else None
        if number is not None:
            ids[value] = number
        elif value != IGNORED:
            return values
    return ids[values]


def _looked_up(pixels: np.ndarray, colours: tuple[tuple[int, int, int], ...], file: str) -> np.ndarray:
    codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    known = np.array([(r << 16) | (g << 8) | b for r, g, b in colours], dtype=np.int32)
    order = np.argsort(known)
    place = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
    ids = order[place]
    if (strange := known[ids] != codes).any():
        r, g, b = pixels[strange][0].tolist()
        raise UnreadableImage(f"its colour ({r}, {g}, {b}) is not in {file}")
    return ids.astype(np.uint8)


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as text: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _names(file: Path) -> Legend:
    """One name a line, or an id and a name, the ids from 0 on."""
    lines = _lines(file)
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if lines and all(numbered):
        found = {int(match[1]): match[2].strip() for match in numbered if match}
        if sorted(found) != list(range(len(lines))):
            raise DataError(f"{file}: its ids are not 0 to {len(lines) - 1}, each once; number the classes from 0")
        lines = [found[number] for number in range(len(lines))]
    return _checked(Legend(tuple(lines), file=file.name), file)


def _colours(file: Path) -> Legend:
    lines = _lines(file)
    rows: list[tuple[str, tuple[int, ...]]] = []
    if file.suffix == ".csv":
        table = [{(key or "").strip().lower(): value for key, value in row.items()} for row in csv.DictReader(lines)]
        for row in table:
            try:
                rows.append((str(row["name"]).strip(), tuple(int(row[band]) for band in "rgb")))
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{file} needs the columns name, r, g, b with whole numbers in the last three"
                ) from error
    else:
        for line in lines:
            if line.startswith("#"):
                continue
            if match := _COLOUR_LINE.fullmatch(line):
                rows.append((match[4].strip(), tuple(int(match[i]) for i in (1, 2, 3))))
            elif match := _CVAT_LINE.fullmatch(line):
                rows.append((match[1].strip(), tuple(int(match[i]) for i in (2, 3, 4))))
            else:
                raise DataError(f"{file}: the line {line!r} is neither 'r g b name' nor CVAT's 'name:r,g,b::'")
    for name, colour in rows:
        if max(colour) > 255:
            raise DataError(f"{file}: the colour {colour} of {name!r} is not in 0 to 255")
    colours = tuple((r, g, b) for _, (r, g, b) in rows)
    for number, colour in enumerate(colours):
        if colour in colours[:number]:
            first, second = rows[colours.index(colour)][0], rows[number][0]
            raise DataError(f"{file}: {first!r} and {second!r} have the same colour {colour}; give each its own")
    return _checked(Legend(tuple(name for name, _ in rows), colours, file.name), file)


def _checked(legend: Legend, file: Path) -> Legend:
    if len(legend.names) < 2:
        raise DataError(f"{file} names {len(legend.names)} classes; at least two are needed to tell apart")
    if len(legend.names) > OUTSIDE:
        raise DataError(f"{file} names {len(legend.names)} classes; masks of 8 bits hold at most {OUTSIDE}")
    return legend
