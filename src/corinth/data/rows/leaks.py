"""What gives a target away in rows: a column that is the target itself, or nearly."""

from collections.abc import Iterator

import numpy as np

from corinth.data.rows.source import MeasuredRows
from corinth.data.sequences.leaks import FEWEST, TOO_GOOD, correlation


def leaking_columns(source: MeasuredRows, rows: np.ndarray) -> Iterator[str]:
    """Sentences about columns of numbers that follow the target almost perfectly over the training rows at `rows`, as
    far as they are filled."""
    for name, column in zip(source.number_names, source.numbers[rows].T):
        filled = ~np.isnan(column)
        if filled.sum() < FEWEST:
            continue
        r = correlation(column[filled], source.targets[rows][filled])
        if abs(r) > TOO_GOOD:
            yield (
                f"column {name!r} gives the {source.target_name} away (correlation {r:.4f}): take it out, unless it "
                "can be measured where the network will be used"
            )
