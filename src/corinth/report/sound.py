"""Recordings inside a page: their bands as a picture, what a network hears in them over time, both transcripts."""

import html
from dataclasses import dataclass
from typing import Any

import numpy as np

from corinth.data import Sequences
from corinth.predictor import Transcriber
from corinth.report.formats import percent
from corinth.report.images import data_uri, svg_uri
from corinth.report.look import Extra, Look, Scored
from corinth.tasks.editing import alignment

WIDTH, HEIGHT, ROOM = 480, 120, 38  # of the chart of labels; above it there is room for their names
SHADES = np.array([[13, 17, 43], [52, 44, 110], [34, 116, 140], [72, 183, 121], [250, 231, 104]], dtype=float)
SURE = 0.1  # labels that are never likelier are not drawn


@dataclass(frozen=True)
class Heard:
    """A recording with what is said in it and what was heard."""

    name: str
    score: float
    sound: str  # data URI, low bands at the bottom
    spikes: str  # data URI, the probability of each label at each step
    words: tuple[tuple[str | None, str | None], ...]  # true, heard; the same where it is right, None where it lacks


def heard(predictor: Transcriber, data: Any, position: int, score: float) -> Heard:
    """A recording as the network of `predictor` hears it, by its usual beam."""
    series = data.source.sequence(position)
    (said,) = predictor.predict([series])
    true = [data.classes[label] for label in data.source.target(position)]
    number = {name: i for i, name in enumerate(dict.fromkeys([*true, *said.labels]))}
    names = list(number)
    pairs = alignment([number[name] for name in said.labels], [number[name] for name in true])
    rows = predictor.preprocess([series])
    probabilities = predictor.logits(Sequences.of(rows))[0].softmax(1).cpu().numpy()
    return Heard(
        name=data.source.name(position),
        score=score,
        sound=drawn_sound(series),
        spikes=drawn_spikes(probabilities, predictor.classes),
        words=tuple((None if a is None else names[a], None if b is None else names[b]) for a, b in pairs),
    )


def drawn_sound(bands: np.ndarray) -> str:
    """Bands (T, C) over time, a PNG: a pixel a step and band, brighter where it is louder."""
    low, high = float(bands.min()), float(bands.max())
    share = (bands.T[::-1] - low) / ((high - low) or 1.0) * (len(SHADES) - 1)
    lower = np.minimum(share.astype(int), len(SHADES) - 2)
    colours = SHADES[lower] + (share - lower)[:, :, None] * (SHADES[lower + 1] - SHADES[lower])
    return data_uri(colours.round().astype(np.uint8), largest=2000)


def drawn_spikes(probabilities: np.ndarray, names: tuple[str, ...]) -> str:
    """The probability of each label (T, K + 1) over time, an SVG; the blank is dotted."""
    across = (np.arange(len(probabilities)) + 0.5) / len(probabilities) * WIDTH
    parts = [f'<path d="M0,{HEIGHT - 1}H{WIDTH}" stroke="#888" stroke-opacity="0.5"/>']
    ends = [-1.0, -1.0]  # where the names of both rows end so far
    drawn = [label for label in range(len(names)) if probabilities[:, label].max() >= SURE]
    for label in [len(names), *drawn]:
        line = _line(across, probabilities[:, label])
        blank = label == len(names)
        colour = "#888" if blank else _colour(label, len(names))
        dots = ' stroke-dasharray="2 4"' if blank else ""
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dots}/>')
    for step, label in _peaks(probabilities[:, drawn], drawn):
        x, name = across[step], names[label]
        row = min((0, 1), key=lambda row: (ends[row] > x - 5 * len(name), row))
        ends[row] = x + 5 * len(name) + 4
        place = f'x="{min(max(x, 5 * len(name)), WIDTH - 5 * len(name)):.1f}" y="{15 + 18 * row}"'
        style = f'text-anchor="middle" font-family="sans-serif" font-size="15" fill="{_colour(label, len(names))}"'
        parts.append(f"<text {place} {style}>{html.escape(name)}</text>")
    return svg_uri(WIDTH, HEIGHT, "".join(parts))


def _line(across: np.ndarray, shares: np.ndarray) -> str:
    down = HEIGHT - 1 - shares * (HEIGHT - 1 - ROOM)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down))


def _colour(label: int, count: int) -> str:
    return f"hsl({round(210 + 360 * label / count) % 360} 55% 52%)"


def _peaks(probabilities: np.ndarray, labels: list[int]) -> list[tuple[int, int]]:
    """Steps and labels of the spikes, in order: the likeliest step of each stretch on which a label is likely."""
    found = []
    for column, label in zip(probabilities.T, labels):
        likely = np.flatnonzero(column >= SURE)
        for stretch in np.split(likely, np.flatnonzero(np.diff(likely) > 1) + 1):
            found.append((int(stretch[column[stretch].argmax()]), label))
    return sorted(found)


def _of_run(scored: Scored) -> Extra:
    """Which errors there are, and how many recordings have none."""
    found = scored.found
    errors = f"{found.substituted:,} substituted, {found.missed:,} missed, {found.added:,} added"
    scores = (
        ("Without an error", percent(found.exact), "of the recordings"),
        ("Errors", f"{found.substituted + found.missed + found.added:,}", errors),
        ("Search", f"beam {found.beam}", f"{found.labels:,} labels"),
    )
    return Extra(scores)


LOOK = Look(
    heard,
    hint="loudness of the bands over time, below it how likely the network finds each label at each step, the blank "
    "dotted; then what is said, and where something else was heard, that struck out",
    of_run=_of_run,
)
