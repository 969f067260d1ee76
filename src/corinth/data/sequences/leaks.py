"""What gives a target away: simple numbers of a series that are the target itself, or nearly."""

from collections.abc import Iterator

import numpy as np

from corinth.data.sequences.source import MeasuredSource

TOO_GOOD = 0.999  # of the absolute correlation with the target, over the training part, or in each of its groups
FEWEST = 10  # series, with which a correlation says something


def leaks(source: MeasuredSource, rows: np.ndarray) -> Iterator[str]:
    """Sentences about what follows the target almost perfectly over the training series at `rows`: the number of steps,
    and of each channel the first and last value, the mean and the sum.

    In groups, such as battery cells, a number may follow the target on a line of its own in each: that is looked for
    too.
    """
    if len(rows) < FEWEST:
        return
    targets = source.targets[rows]
    series = [source.series[i] for i in rows]
    groups = np.array([source.groups[i] for i in rows]) if source.groups else None
    lengths = source.lengths[rows].astype(np.float64)
    if abs(r := strength(lengths, targets, groups)) > TOO_GOOD:
        yield (
            f"the number of steps of a series gives its {source.target_name} away (correlation {r:.4f}): what is "
            "predicted may only be how long it was measured; cut or resample all to one length"
        )
    even = bool((lengths == lengths[0]).all())
    for channel in range(source.channels):
        columns = [values[:, channel].astype(np.float64) for values in series]
        found = {
            "the first value": [column[0] for column in columns],
            "the last value": [column[-1] for column in columns],
            "the mean": [column.mean() for column in columns],
            **({} if even else {"the sum": [column.sum() for column in columns]}),
        }
        strengths = {what: strength(np.array(numbers), targets, groups) for what, numbers in found.items()}
        what = max(strengths, key=lambda what: abs(strengths[what]))
        if abs(r := strengths[what]) > TOO_GOOD:
            yield (
                f"{what} of {source.channel_name(channel)} gives the {source.target_name} away (correlation {r:.4f}): "
                "take the channel out, unless it can be measured where the network will be used"
            )


def strength(numbers: np.ndarray, targets: np.ndarray, groups: np.ndarray | None) -> float:
    """The correlation over all, or the weakest of those within groups, whichever is the stronger."""
    whole = correlation(numbers, targets)
    if groups is None:
        return whole
    parts = [groups == name for name in np.unique(groups)]
    within = [correlation(numbers[mine], targets[mine]) for mine in parts if mine.sum() >= FEWEST]
    return max(whole, min(within, key=abs, default=0.0), key=abs)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0
