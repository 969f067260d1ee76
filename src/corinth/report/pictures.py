"""Samples inside a page: images and time series as data URIs, texts as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corinth.data import ImageData
from corinth.data.dataset import DataSet
from corinth.data.rows.source import RowData
from corinth.data.sequences.source import Series
from corinth.report.images import data_uri, svg_uri
from corinth.report.sound import drawn_sound

LONG = 240  # characters of a text that are shown


@dataclass(frozen=True)
class Mistake:
    """A sample that was called something else."""

    name: str  # path, or "digits[12]"
    file: str  # its last part
    target: str
    predicted: str
    probability: float  # of the wrong class, mean over the runs that chose it
    wrong: int  # how many of `runs` got the sample wrong
    runs: int
    picture: str | None  # data URI; None of a text
    small: bool = False  # to be shown with its pixels visible
    text: str | None = None


def _shown(data: DataSet, position: int) -> dict[str, Any]:
    """A sample, as a `Mistake` has it."""
    if isinstance(data, ImageData):
        image = data.source.image(position)
        return {"picture": data_uri(image), "small": max(image.shape[:2]) <= 64}
    if isinstance(data, RowData):
        return {"picture": None, "text": row_text(data, position)}
    sequence = data.source.sequence(position)
    if isinstance(sequence, str):
        return {"picture": None, "text": _cut(sequence)}
    if isinstance(data.source, Series) and data.source.audio_rate is not None:
        return {"picture": drawn_sound(sequence)}
    return {"picture": drawn_series(sequence)}


def row_text(data: RowData, position: int) -> str:
    """The cells of a row with the names of their columns."""
    return _cut(", ".join(f"{name} {_short(value)}" for name, value in data.source.row(position).items()))


def _cut(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:LONG].rstrip()} …"


def _short(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def drawn_series(values: np.ndarray, width: int = 240, height: int = 120) -> str:
    """The channels of a series (T, C) as lines, an SVG; each on the scale of all."""
    return svg_uri(width, height, drawn_lines(values, width, height))


def drawn_lines(values: np.ndarray, width: int, height: int, most: int = 300) -> str:
    """The same as the lines of a drawing. A long series is thinned out."""
    values = values[:: -(-len(values) // most)]
    low, high = float(values.min()), float(values.max())
    across = np.linspace(4, width - 4, len(values)) if len(values) > 1 else np.array([width / 2])
    down = height - 4 - (values - low) / ((high - low) or 1.0) * (height - 8)
    lines = []
    for channel in range(values.shape[1]):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down[:, channel]))
        hue = round(210 + 360 * channel / values.shape[1]) % 360
        lines.append(f'<polyline points="{points}" fill="none" stroke="hsl({hue} 55% 52%)" stroke-width="1.5"/>')
    return "".join(lines)


def last_part(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def mistakes(
    data: DataSet, index: np.ndarray, targets: np.ndarray, probs: np.ndarray, classes: Sequence[str], most: int = 12
) -> list[Mistake]:
    """The worst mistakes of some runs: wrong in most of them, then most sure of the wrong class.

    `index` (N,) positions in the data, `targets` (N,) numbers in `classes`, `probs` (runs, N, K).
    """
    predicted = probs.argmax(axis=2)  # (runs, N)
    wrong = predicted != targets
    sure = np.where(wrong, probs.max(axis=2), 0.0).sum(axis=0) / np.maximum(wrong.sum(axis=0), 1)
    share = wrong.mean(axis=0)
    worst = [i for i in np.lexsort((-sure, -share)) if share[i] > 0][:most]
    out = []
    for i in worst:
        answers = np.bincount(predicted[wrong[:, i], i])
        name = data.source.name(int(index[i]))
        out.append(
            Mistake(
                name=name,
                file=last_part(name),
                target=classes[targets[i]],
                predicted=classes[int(answers.argmax())],
                probability=float(sure[i]),
                wrong=int(wrong[:, i].sum()),
                runs=len(probs),
                **_shown(data, int(index[i])),
            )
        )
    return out
