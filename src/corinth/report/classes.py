"""Classification inside a page: what was taken for what, and the worst mistakes."""

from typing import Any

import numpy as np

from corinth.report import figures
from corinth.report.formats import percent
from corinth.report.look import Entrant, Extra, Look, Scored
from corinth.report.pictures import Mistake, mistakes


def _of_run(scored: Scored) -> Extra:
    data, found, charts = scored.data, scored.found, {}
    if len(found.classes) <= figures.MOST_CLASSES:
        charts["confusion"] = figures.choices({"all": figures.confusion(found.confusion, found.classes)})
    worst = mistakes(data, found.index, found.targets, np.stack([found.probs]), found.classes, most=24)
    calibration = ("Calibration error", percent(found.calibration_error), "expected, 15 bins")
    return Extra((calibration,), {"mistakes": worst}, charts)


def _of_comparison(entrants: list[Entrant], data: Any) -> Extra:
    charts: dict[str, Any] = {}
    if data.num_classes <= figures.MOST_CLASSES:
        counts = {entrant.label: _confusion(entrant, data) for entrant in entrants}
        charts["confusion"] = figures.choices(
            {label: figures.confusion(count, data.classes) for label, count in counts.items()}
        )
    worst = [(entrant.label, _mistakes(entrant, data)) for entrant in entrants]
    return Extra(context={"mistakes": worst}, charts=charts)


def _confusion(entrant: Entrant, data: Any) -> np.ndarray:
    """Counts (true, predicted), summed over seeds."""
    counts = np.zeros((data.num_classes, data.num_classes), dtype=np.int64)
    for answers in entrant.answers():
        np.add.at(counts, answers.labels, 1)
    return counts


def _mistakes(entrant: Entrant, data: Any) -> list[Mistake]:
    found = entrant.answers()
    probs = np.stack([answers.probs for answers in found])
    return mistakes(data, found[0].index, found[0].target, probs, data.classes)


LOOK = Look(of_run=_of_run, of_comparison=_of_comparison)
