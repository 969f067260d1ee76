"""Connectionist temporal classification against sums over all paths."""

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from corinth.layers.ctc import (
    NO_LABEL,
    beam_search,
    best_path,
    fewest_steps,
    negative_log_likelihood,
    prefix_beam_search,
    spelt,
)


def all_labellings(log_probs: np.ndarray) -> dict[tuple[int, ...], float]:
    """ln p of every labelling, by every path."""
    steps, outputs = log_probs.shape
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(outputs), repeat=steps):
        found[tuple(spelt(path, outputs - 1))] += math.exp(sum(log_probs[t, k] for t, k in enumerate(path)))
    return {labels: math.log(p) for labels, p in found.items()}


def random_log_probs(seed: int, steps: int, outputs: int) -> np.ndarray:
    logits = torch.randn(steps, outputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (1.5 * logits).log_softmax(1).numpy()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("steps", "outputs"), [(1, 2), (4, 3), (5, 4), (7, 2)])
def test_a_wide_beam_finds_the_likeliest_labelling(seed: int, steps: int, outputs: int) -> None:
    log_probs = random_log_probs(seed, steps, outputs)
    everything = all_labellings(log_probs)
    labels, probability = prefix_beam_search(log_probs, beam=10_000)
    assert tuple(labels) == max(everything, key=everything.__getitem__)
    assert probability == pytest.approx(everything[tuple(labels)], abs=1e-10)
    assert sum(map(math.exp, everything.values())) == pytest.approx(1)


def test_a_narrow_beam_is_a_lower_bound() -> None:
    below = 0
    for seed in range(20):
        log_probs = random_log_probs(seed, 6, 4)
        labels, probability = prefix_beam_search(log_probs, beam=3)
        exact = all_labellings(log_probs)[tuple(labels)]
        assert probability <= exact + 1e-10
        below += probability < exact - 1e-6
    assert below  # three beginnings are not all


def test_the_beam_finds_what_the_best_path_misses() -> None:
    """Section 3.2's example: the blank is likeliest at each step, and a label in one of two places is likelier."""
    log_probs = np.log(np.array([[0.4, 0.6], [0.4, 0.6]]))
    logits = torch.from_numpy(log_probs)[None]
    assert best_path(logits, torch.tensor([2])) == [[]]  # p = 0.36
    labels, probability = prefix_beam_search(log_probs, beam=4)
    assert labels == [0]
    assert math.exp(probability) == pytest.approx(0.64)


@pytest.mark.parametrize("labels", [(), (0,), (0, 0), (0, 1), (1, 1, 0), (2, 1, 2)])
def test_likelihood_is_the_sum_over_paths(labels: tuple[int, ...]) -> None:
    log_probs = random_log_probs(3, 5, 4)
    padded = torch.full((2, 4), NO_LABEL)
    padded[0, : len(labels)] = torch.tensor(labels)
    padded[1, 0] = 1
    logits = torch.from_numpy(np.stack([log_probs, random_log_probs(4, 5, 4)])).float()
    found = negative_log_likelihood(logits, torch.tensor([5, 3]), padded)
    assert -found[0] == pytest.approx(all_labellings(log_probs)[labels], abs=1e-5)
    assert -found[1] == pytest.approx(all_labellings(random_log_probs(4, 5, 4)[:3])[(1,)], abs=1e-5)


def test_what_a_path_needs() -> None:
    targets = torch.tensor([[1, 1, 2, 2], [0, 1, 0, NO_LABEL], [3, NO_LABEL, NO_LABEL, NO_LABEL]])
    assert fewest_steps(targets).tolist() == [6, 3, 1]
    logits = torch.randn(3, 6, 5)
    needed = fewest_steps(targets)
    assert negative_log_likelihood(logits, needed, targets).isfinite().all()
    assert negative_log_likelihood(logits[:2], needed[:2] - 1, targets[:2]).isinf().all()


def test_what_is_behind_the_end_changes_nothing() -> None:
    logits = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
    other = logits.clone()
    other[0, 4:] = torch.tensor([9.0, 0.0, 0.0, 0.0])
    lengths = torch.tensor([4, 6])
    for beam in (1, 5):
        assert beam_search(logits, lengths, beam) == beam_search(other, lengths, beam)
    paths = beam_search(logits, lengths, 1)
    assert [labels for labels, _ in paths] == best_path(logits, lengths)
    assert paths[0][1] == pytest.approx(float(logits[0, :4].log_softmax(1).amax(1).sum()), abs=1e-5)


def test_spelling() -> None:
    assert spelt([3, 0, 0, 3, 0, 1, 1, 3], blank=3) == [0, 0, 1]
    assert spelt([], blank=3) == []
