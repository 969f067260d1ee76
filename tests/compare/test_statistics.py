"""Intervals and tests: against closed forms, against each other, and in simulation."""

import numpy as np
import pytest
from scipy import stats

from corinth.compare.statistics import (
    holm,
    method_text,
    paired_differences,
    pool_seeds,
    score_interval,
    variance_of_mean,
)


def draw(rng: np.random.Generator, seeds: int, samples: int, seed_sd: float, architectures: int = 2) -> np.ndarray:
    """(architectures, seeds, samples) of 0/1 from crossed effects on the logit scale; equal true accuracies."""
    hard = rng.normal(size=samples) * 2.7 + rng.normal(size=(architectures, 1, samples)) * 1.3
    luck = rng.normal(size=(architectures, seeds, 1)) * seed_sd
    return (rng.random((architectures, seeds, samples)) < 1 / (1 + np.exp(-4 - hard - luck))).astype(float)


def pair(first: np.ndarray, second: np.ndarray):
    seeds = range(len(first))
    return paired_differences({"a": (seeds, first), "b": (seeds, second)})["a", "b"]


def test_mean_squares_are_those_of_the_two_way_table() -> None:
    scores = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 8.0]])
    # by hand: row means 7/3, 14/3; column means 2, 2.5, 6; grand mean 3.5
    ms_seed = 3 * 2 * (3.5 - 7 / 3) ** 2
    ms_sample = 2 * (1.5**2 + 1.0**2 + 2.5**2) / 2
    residuals = [1 - (7 / 3 + 2 - 3.5), 2 - (7 / 3 + 2.5 - 3.5), 4 - (7 / 3 + 6 - 3.5)]
    ms_res = 2 * sum(r**2 for r in residuals) / 2
    found = variance_of_mean(scores)
    assert found.seed == pytest.approx(ms_seed / 6)
    assert found.noise == pytest.approx(ms_res / 6)
    assert found.sample == pytest.approx((ms_sample - ms_res) / 6)
    assert (found.seed_df, found.noise_df, found.sample_df) == (1, 2, 2)


def test_one_seed_is_wilsons_interval_with_a_t_quantile() -> None:
    scores = np.array([[1.0] * 90 + [0.0] * 10])
    found = score_interval(scores)
    assert not found.covers_seeds
    t = stats.t.ppf(0.975, 99)
    n = 0.09 * t**2 / (t**2 * scores.var(ddof=1) / 100)
    centre, width = (0.9 + t**2 / 2 / n) / (1 + t**2 / n), t * np.sqrt(0.09 / n + t**2 / 4 / n**2) / (1 + t**2 / n)
    assert (found.low, found.high) == pytest.approx((centre - width, centre + width))
    # and within a hair of Wilson's own
    wilson = stats.binomtest(90, 100).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=0.003)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_perfect_score_has_an_interval(value: float) -> None:
    found = score_interval(np.full((3, 360), value))
    assert found.mean == value
    assert 0.005 < found.high - found.low < 0.02
    assert found.low >= 0
    assert found.high <= 1


def test_real_scores_get_a_t_interval() -> None:
    scores = np.random.default_rng(0).normal(5, 1, size=(1, 50))
    expected = stats.t.interval(0.95, 49, scores.mean(), scores.std(ddof=1) / np.sqrt(50))
    found = score_interval(scores)
    assert (found.low, found.high) == pytest.approx(expected)


def test_more_seeds_that_differ_widen_what_samples_alone_would_say() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.random((3, 2000)) < np.array([[0.85], [0.9], [0.95]])).astype(float)
    together, alone = score_interval(scores), score_interval(scores[1:2])
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_identical_predictions_are_a_tie_with_p_1() -> None:
    scores = draw(np.random.default_rng(1), 3, 300, 0.3)[0]
    found = pair(scores, scores.copy())
    assert (found.mean, found.p, found.p_adjusted) == (0.0, 1.0, 1.0)
    assert found.low < 0 < found.high  # identical here is not identical everywhere


def test_the_same_method_with_other_seeds_ties_and_a_crippled_one_loses() -> None:
    rng = np.random.default_rng(2)
    one, other = draw(rng, 3, 400, 0.1)
    crippled = one * (rng.random(one.shape) < 0.6)
    found = paired_differences({"one": (range(3), one), "other": (range(3), other), "crippled": (range(3), crippled)})
    assert found["one", "other"].p_adjusted > 0.05
    assert found["one", "crippled"].p_adjusted < 0.05
    assert found["one", "crippled"].low > 0


def test_differences_are_antisymmetric() -> None:
    first, second = draw(np.random.default_rng(3), 2, 100, 0.5)
    both = paired_differences({"a": ([0, 1], first), "b": ([0, 1], second)})
    ab, ba = both["a", "b"], both["b", "a"]
    assert (ab.mean, ab.low, ab.high) == pytest.approx((-ba.mean, -ba.high, -ba.low))
    assert ab.p == ba.p


def test_pairing_by_sample_finds_what_unpaired_samples_would_not() -> None:
    rng = np.random.default_rng(4)
    base = (rng.random((1, 1000)) < 0.6).astype(float)
    worse = base.copy()
    worse[0, np.flatnonzero(base[0])[:25]] = 0  # 2.5 points, all in one direction
    assert pair(base, worse).p < 1e-4
    assert stats.ttest_ind(base[0], worse[0]).pvalue > 0.2


def test_interval_excludes_zero_exactly_where_the_corrected_p_value_is_significant() -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        matrices = {str(k): (range(3), (rng.random((3, 200)) < 0.9 - 0.03 * k).astype(float)) for k in range(5)}
        for found in paired_differences(matrices).values():
            assert (found.low > 0 or found.high < 0) == (found.p_adjusted < 0.05)


def test_holm_by_hand() -> None:
    p = {("a", "b"): 0.01, ("a", "c"): 0.04, ("b", "c"): 0.03}
    adjusted, levels = holm(p, alpha=0.05)
    assert adjusted == pytest.approx({("a", "b"): 0.03, ("b", "c"): 0.06, ("a", "c"): 0.06})
    assert levels == pytest.approx({("a", "b"): 0.05 / 3, ("b", "c"): 0.025, ("a", "c"): 0.025})


def test_dispersion_by_hand() -> None:
    def scores(*right: int) -> np.ndarray:  # of 100 samples
        return np.array([[1.0] * k + [0.0] * (100 - k) for k in right])

    one, two = scores(80, 90), scores(70, 90, 80)
    # MS_seed: 100 * (0.05^2 + 0.05^2) / 1 = 0.5 and 100 * (0.01 + 0.01) / 2 = 1; p(1 - p): 0.1275 and 0.16
    first, second = 0.5 / 0.1275, 1 / 0.16
    found = pool_seeds([one, two, scores(85)])  # a single seed says nothing
    assert found is not None
    assert found.value == pytest.approx((first + 2 * second) / 3)
    assert found.df == pytest.approx((first + 2 * second) ** 2 / (first**2 + 2 * second**2))
    assert pool_seeds([scores(85)]) is None
    alike = pool_seeds([two] * 4)
    assert alike is not None
    assert alike.df == pytest.approx(8)


def test_a_board_finds_what_two_alone_could_not() -> None:
    rng = np.random.default_rng(7)
    together = alone = 0
    for _ in range(20):
        board = dict(zip("abcde", draw(rng, 3, 400, 0.2, 5)))
        board["e"] *= rng.random((3, 400)) < 0.9
        alone += pair(board["a"], board["e"]).p < 0.01
        found = paired_differences({label: (range(3), matrix) for label, matrix in board.items()})
        together += found["a", "e"].p < 0.01
    assert alone < 12
    assert together > alone + 4


def test_the_unsteady_keep_their_own_spread() -> None:
    rng = np.random.default_rng(9)
    steady = [(rng.random((3, 500)) < 0.9).astype(float) for _ in range(4)]
    unsteady = (rng.random((3, 500)) < np.array([[0.99], [0.9], [0.8]])).astype(float)
    pool = pool_seeds([*steady, unsteady])
    assert variance_of_mean(unsteady, pool).seed == variance_of_mean(unsteady).seed
    assert variance_of_mean(steady[0], pool).seed > variance_of_mean(steady[0]).seed


def test_a_perfect_score_beside_others_has_a_narrow_interval() -> None:
    others = draw(np.random.default_rng(10), 3, 360, 0.2)
    found = score_interval(np.ones((3, 360)), pool_seeds([*others, np.ones((3, 360))]))
    assert (found.mean, found.high) == (1.0, 1.0)
    assert 0.98 < found.low < 1


def test_only_common_seeds_are_compared() -> None:
    first, second = draw(np.random.default_rng(6), 3, 50, 0.2)
    scores = {"a": ([0, 1, 2], first), "b": ([2, 0], second[:2]), "c": ([7], second[:1])}
    found = paired_differences(scores)
    assert set(found) == {("a", "b"), ("b", "a")}
    assert found["a", "b"].seeds == 2
    assert found["a", "b"].mean == pytest.approx((first[[0, 2]] - second[[1, 0]]).mean())


def test_unequal_samples_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="scored on 5 samples, the other on 6"):
        paired_differences({"a": ([0], np.ones((1, 5))), "b": ([0], np.ones((1, 6)))})


def test_a_matrix_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 1\)"):
        score_interval(np.ones((3, 1)))


@pytest.mark.parametrize(("seeds", "seed_sd"), [(2, 0.8), (3, 0.0), (3, 0.4), (5, 0.4)])
def test_levels_hold_in_simulation(seeds: int, seed_sd: float) -> None:
    """A small form of benchmarks/statistics_coverage.py; 250 runs have a standard error of 1.4 points."""
    rng = np.random.default_rng(seeds)
    big = draw(np.random.default_rng(99), 400, 4000, seed_sd, 1)
    truth, runs = big.mean(), 250
    covered = false = 0
    for _ in range(runs):
        first, second = draw(rng, seeds, 300, seed_sd)
        interval = score_interval(first)
        covered += interval.low <= truth <= interval.high
        false += pair(first, second).p < 0.05
    assert covered / runs >= 0.92
    assert false / runs <= 0.08


def test_the_method_in_words_says_what_one_seed_cannot() -> None:
    assert "more than one seed" in " ".join(method_text(seeds=1, samples=360, comparisons=1))
    assert "Holm" not in " ".join(method_text(seeds=1, samples=360, comparisons=0))
    assert "the last checkpoint was taken" in method_text(seeds=3, samples=360, comparisons=1, validated=False)[0]
    three = " ".join(method_text(seeds=3, samples=1360, comparisons=10))
    for words in ("crossed random effects", "Holm", "10 comparisons", "Wilson", "1,360", "Assumed"):
        assert words in three


def test_an_erratic_architecture_keeps_its_own_spread_against_a_lone_seed() -> None:
    """Six equal ones; the first varies much more over its five seeds, the last has one seed."""
    rng = np.random.default_rng(6)
    sds, false, runs = np.array([0.06, *[0.005] * 5]), 0, 200
    for _ in range(runs):
        level = np.clip(0.8 + rng.normal(size=(6, 5, 1)) * sds[:, None, None], 0, 1)
        answers = (rng.random((6, 5, 600)) < level).astype(float)
        scores = {name: (range(5), matrix) for name, matrix in zip("abcdef", answers)}
        scores["f"] = (range(1), answers[5][:1])
        false += paired_differences(scores)["a", "f"].p < 0.05
    assert false / runs <= 0.05


def test_an_architecture_with_one_seed_borrows_the_boards_spread() -> None:
    """Two equal ones, of which one has lost two of its three seeds: 200 runs have a standard error of 1.5 points."""
    rng = np.random.default_rng(5)
    false, runs = 0, 200
    for _ in range(runs):
        level = np.clip(0.9 + rng.normal(size=(2, 3, 1)) * 0.015, 0, 1)
        first, second = (rng.random((2, 3, 1000)) < level).astype(float)
        found = paired_differences({"a": (range(3), first), "b": (range(1), second[:1])})
        false += found["a", "b"].p < 0.05
    assert false / runs <= 0.08
    lone, pool = second[:1], pool_seeds([first])
    alone, informed = score_interval(lone), score_interval(lone, pool)
    assert informed.high - informed.low > alone.high - alone.low
