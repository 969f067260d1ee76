"""The shuffled-labels control: train on labels that mean nothing; a sound pipeline then scores at chance.

Chance is not a binomial here. A network trained on shuffled labels still puts alike images together and calls them
all by some class, so it gets whole classes right or wrong by luck, and its score strays much further than independent
guesses would. Two tests know this. If the labels meant nothing, the classes' names could be dealt out anew over the
predictions (a permutation test, of some power from four classes on). And every seed shuffles its own labels, so the
interval over seeds is one over shuffles too.
"""

from dataclasses import dataclass

import numpy as np

from corinth.compare.statistics import score_interval

DRAWS = 4000


@dataclass(frozen=True)
class Chance:
    """What an architecture's predictions would score if they knew nothing, and whether they do no better."""

    expected: float
    high: float  # the score that 97.5 % of random dealings of the classes' names stay below
    passed: bool


def against_chance(predicted: np.ndarray, targets: np.ndarray, num_classes: int, *, alpha: float) -> Chance:
    """Compare predictions (S, N) with targets (N,); fails with probability `alpha` if there is nothing to know.

    `expected` is the agreement by chance of Cohen's kappa, P(predicted = k) P(target = k) summed over the classes k,
    so that predicting the commonest class only is chance too.
    """
    share = np.bincount(targets, minlength=num_classes) / len(targets)
    joint = np.zeros((num_classes, num_classes))
    np.add.at(joint, (predicted, np.broadcast_to(targets, predicted.shape)), 1 / predicted.size)
    marginal = joint.sum(axis=1)
    excess = joint - np.outer(marginal, share)  # what predicting i adds to being j
    expected = float(marginal @ share)
    rng = np.random.default_rng(0)
    dealt = rng.permuted(np.tile(np.arange(num_classes), (DRAWS, 1)), axis=1)
    null = excess[np.arange(num_classes), dealt].sum(axis=1)
    p = (1 + np.count_nonzero(null >= np.trace(excess) - 1e-12)) / (1 + DRAWS)
    passed = p > alpha / 2
    if len(predicted) > 1:
        interval = score_interval((predicted == targets).astype(float), level=1 - alpha)  # alpha / 2 above
        passed = passed and interval.low <= expected
    return Chance(expected, expected + float(np.quantile(null, 0.975)), bool(passed))
