"""When a score on shuffled labels is chance, and when it is a leak."""

import numpy as np
import pytest

from corinth.compare.control import against_chance

TARGETS = np.arange(600) % 6


def clustered(rng: np.random.Generator, seeds: int) -> np.ndarray:
    """A network that tells the classes apart but knows none of their names: each is called by a random one."""
    names = rng.integers(0, 6, (seeds, 6))
    found = names[:, TARGETS]
    return np.where(rng.random(found.shape) < 0.7, found, rng.integers(0, 6, found.shape))


@pytest.mark.parametrize("seeds", [1, 3])
def test_false_alarms_are_rare_although_scores_stray(seeds: int) -> None:
    rng = np.random.default_rng(0)
    boards = [clustered(rng, seeds) for _ in range(150)]
    scores = [(predicted == TARGETS).mean() for predicted in boards]
    assert max(scores) > 0.3  # far outside of what 600 independent guesses would do
    found = [against_chance(predicted, TARGETS, 6, alpha=0.05) for predicted in boards]
    assert np.mean([not f.passed for f in found]) <= 0.08
    assert np.mean([f.expected for f in found]) == pytest.approx(1 / 6, abs=0.01)


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_leak_is_noticed(seeds: int) -> None:
    rng = np.random.default_rng(1)
    guesses = rng.integers(0, 6, (seeds, len(TARGETS)))
    leaked = np.where(rng.random(guesses.shape) < 0.3, TARGETS, guesses)
    assert not against_chance(leaked, TARGETS, 6, alpha=0.05).passed


def test_two_classes_need_seeds() -> None:
    rng = np.random.default_rng(2)
    targets = np.arange(400) % 2
    leaked = np.where(rng.random((3, 400)) < 0.6, targets, rng.integers(0, 2, (3, 400)))
    assert against_chance(leaked[:1], targets, 2, alpha=0.05).passed
    assert not against_chance(leaked, targets, 2, alpha=0.05).passed


def test_predicting_the_commonest_class_is_chance() -> None:
    targets = np.array([0] * 90 + [1] * 5 + [2] * 5)
    found = against_chance(np.zeros((1, 100), dtype=int), targets, 3, alpha=0.05)
    assert found.expected == pytest.approx(0.9)
    assert found.high == pytest.approx(0.9)
    assert found.passed
