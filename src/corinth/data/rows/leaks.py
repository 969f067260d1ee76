"""What gives a target away in rows: a column that is the target itself, or nearly."""

from collections.abc import Iterator

import numpy as np

from corinth.data.rows.source import MeasuredRows
from corinth.data.sequences.leaks import FEWEST, TOO_GOOD, correlation

RUN = 4  # rows of the same word, on average, that may be the steps of one sequence


def in_runs(source: MeasuredRows) -> Iterator[str]:
    """Sentences about columns of words that come in long runs, each word in one: rows may be steps of sequences, whose
    neighbours are alike and fall into different parts."""
    for name, column in zip(source.word_names, source.words.T):
        runs = 1 + int((column[1:] != column[:-1]).sum())
        if runs == len(set(column.tolist())) > 2 and len(column) >= RUN * runs:
            yield (
                f"rows with the same {name!r} stand together, {len(column) / runs:.0f} on average: if they are the "
                f"steps of a sequence, group_column {name} makes one sample of them; as rows they are in all parts"
            )


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
