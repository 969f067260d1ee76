"""Which look each task has in reports, and the samples that a network finds hardest."""

from typing import Any

import numpy as np

from corinth.predictor import Predictor
from corinth.report import (
    captions,
    classes,
    dense,
    forecasting,
    frames,
    labels,
    language,
    sound,
    tagging,
    translations,
    values,
)
from corinth.report.look import Look
from corinth.tasks.kinds import KINDS

LOOKS: dict[str, Look] = {
    "image-classification": classes.LOOK,
    "tabular-classification": classes.LOOK,
    "sequence-classification": classes.LOOK,
    "semantic-segmentation": dense.MASKS,
    "object-detection": dense.BOXES,
    "sequence-regression": values.LOOK,
    "tabular-regression": values.ROWS,
    "frame-classification": frames.LOOK,
    "captioning": captions.LOOK,
    "text-from-label": labels.LOOK,
    "sequence-tagging": tagging.LOOK,
    "transcription": sound.LOOK,
    "translation": translations.LOOK,
    "language-modeling": language.LOOK,
    "forecasting": forecasting.LOOK,
}


def hardest(predictor: Predictor, data: Any, index: np.ndarray, scores: np.ndarray, most: int) -> list[Any]:
    """The samples at the positions `index` (N,) with the worst `scores` (N,), the worst first, with what the network
    says of them, as the look of its task shows it; none of a classifier."""
    shown = LOOKS[predictor.task].shown
    if shown is None:
        return []
    by = -scores if KINDS[predictor.task].lower_is_better else scores
    worst = np.argsort(by, kind="stable")[:most]
    return [shown(predictor, data, int(index[i]), float(scores[i])) for i in worst]
