"""The shuffled-labels control: train on labels that mean nothing; a sound pipeline then scores at chance."""

import numpy as np

SEED = 0  # of the permutation; every architecture and every seed trains on the same one


def chance_level(predicted: np.ndarray, targets: np.ndarray, num_classes: int) -> float:
    """Expected accuracy of predictions with these class frequencies if they knew nothing of the targets.

    The agreement by chance of Cohen's kappa: the sum over classes of P(predicted) P(target).
    """
    shares = [np.bincount(np.ravel(x), minlength=num_classes) / np.size(x) for x in (predicted, targets)]
    return float(shares[0] @ shares[1])
