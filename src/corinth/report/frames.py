"""Clips and series with a class for every frame inside a page: strips of frames, or bands of colour over time."""

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corinth.data.collect import plural
from corinth.predictor import FrameClassifier
from corinth.report import figures
from corinth.report.images import data_uri, svg_uri
from corinth.report.look import Extra, Look, Scored
from corinth.report.pictures import drawn_lines
from corinth.report.values import standardised

MOST_FRAMES = 24  # of a clip that are shown
WIDTH, LINES, BAND = 720, 110, 24  # of a series with its two bands, in units of the drawing
LETTER = 7.5  # width of one, about


@dataclass(frozen=True)
class Frame:
    """One frame of a strip; `wrong` is what it was called where that is something else."""

    number: int  # from 1
    picture: str  # data URI
    label: str
    wrong: str | None


@dataclass(frozen=True)
class Strip:
    """A clip with the frames that are shown, or a series as a drawing with the colour of each class."""

    name: str
    score: float
    frames: tuple[Frame, ...] = ()
    small: bool = False  # frames are shown with their pixels visible
    drawing: str | None = None  # data URI
    keys: tuple[tuple[str, str], ...] = ()  # class, colour
    length: int = 0


def strip(predictor: FrameClassifier, data: Any, position: int, score: float) -> Strip:
    """A clip or a series with its true classes and those that the network says."""
    sequence, name = data.source.sequence(position), data.source.name(position)
    true = [data.classes[tag] for tag in data.source.target(position)]
    (answer,) = predictor.predict([sequence])
    said = list(answer.labels)
    if not predictor.takes_clips:
        names = [label for label in predictor.classes if label in {*true, *said}]
        keys = tuple((label, colour(label, predictor.classes)) for label in names)
        drawing = bands(sequence, true, said, predictor.classes)
        return Strip(name, score, drawing=drawing, keys=keys, length=len(true))
    frames = [
        Frame(i + 1, data_uri(_picture(sequence[i])), true[i], None if true[i] == said[i] else said[i])
        for i in shown_frames(true, said)
    ]
    return Strip(name, score, tuple(frames), max(sequence.shape[1:3]) <= 64, length=len(true))


def _picture(frame: np.ndarray) -> np.ndarray:
    return frame[:, :, 0] if frame.shape[2] == 1 else frame


def shown_frames(true: Sequence[str], said: Sequence[str], most: int = MOST_FRAMES) -> range:
    """The stretch of so many frames in which most are wrong, the first of them."""
    wrong = np.cumsum([0, *(a != b for a, b in zip(true, said, strict=True))])
    length = min(most, len(true))
    within = wrong[length:] - wrong[: len(wrong) - length]
    first = int(within.argmax())
    return range(first, first + length)


def bands(values: np.ndarray, true: Sequence[str], said: Sequence[str], classes: Sequence[str]) -> str:
    """A series (T, C), each channel on its own scale, over the true classes and those that were said; an SVG."""
    parts = [drawn_lines(standardised(values), WIDTH, LINES)]
    for row, labels in enumerate((true, said)):
        top, start = LINES + row * (BAND + 4), 0
        for label, same in itertools.groupby(labels):
            length = len(list(same))
            x, width = start * WIDTH / len(labels), length * WIDTH / len(labels)
            fill = colour(label, classes)
            parts.append(f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{BAND}" fill="{fill}"/>')
            if len(label) * LETTER + 6 < width:
                style = 'text-anchor="middle" font-family="sans-serif" font-size="14" fill="#fff"'
                parts.append(f'<text x="{x + width / 2:.1f}" y="{top + 17}" {style}>{html.escape(label)}</text>')
            start += length
    return svg_uri(WIDTH, LINES + 2 * BAND + 4, "".join(parts))


def colour(label: str, classes: Sequence[str]) -> str:
    """Of a class, dark enough for white letters."""
    place = list(classes).index(label) if label in classes else 0
    return f"hsl({round(210 + 360 * place / len(classes)) % 360} 55% {38 if place % 2 else 46}%)"


def _of_run(scored: Scored) -> Extra:
    """How many frames there are, and which were taken for which."""
    found = scored.found
    charts = {}
    if len(found.classes) <= figures.MOST_CLASSES:
        charts["confusion"] = figures.choices({"all": figures.confusion(found.confusion, found.classes)})
    several = plural(scored.data.source.unit)
    scores = (
        ("Frames", f"{found.frames:,}", f"in {found.samples:,} {several}"),
        ("Macro F1", f"{found.macro_f1:.3f}", "mean over classes"),
    )
    return Extra(scores, {"support": "Frames"}, charts)


LOOK = Look(
    strip,
    hint="of a clip up to 24 frames with their labels, what a frame was called in error struck out below; of a series "
    "its channels, below them a band of the true labels and one of those that were predicted",
    of_run=_of_run,
)
