"""What a handful of seeds and one test set allow to be said about a score, and about the difference of two.

The data of one architecture is a matrix of per-sample scores, S seeds x N test samples: 1 where that seed's model
was right, 0 where it was wrong (or any real score). Seeds and samples are *crossed random effects*: every seed sees
the same samples, and both were drawn from something larger that the board wants to speak about. Treating the S*N
cells as independent would be far too sure of itself; a bootstrap over three seeds is little more than min to max.

The two-way analysis of variance without replication (Cornfield & Tukey 1956; Clark 1973) estimates

    var(mean) = MS_seed / SN  +  (MS_sample - MS_res) / SN
                seeds and noise             samples

The first part rests on few degrees of freedom, S - 1, the second on N - 1. One pooled df (Satterthwaite) is too sure
when few seeds happen to agree, so each part gets its own t quantile (Cochran & Cox 1957; that this keeps the level is
Banerjee 1960), and the first is never taken to be less than the noise alone, which is known well:

    half-width^2 = max(t(df)^2 MS_seed, t((S-1)(N-1))^2 MS_res) / SN  +  t(N-1)^2 (MS_sample - MS_res) / SN

With 3 seeds t(2) is so large that hardly any difference could be found. A board has more to go by: MS_seed is taken
relative to p(1 - p), as the dispersion of a quasi-binomial model is, and averaged over the architectures, with the
Welch-Satterthwaite df of that average (from S - 1 when one of them dominates to K(S - 1) when they are alike). An
architecture whose own MS_seed is larger keeps its own. The difference of two is taken seed by seed and sample by
sample; its seed part is the sum of both, because what seed 0 did to one network says nothing about what it does to
another. benchmarks/statistics_coverage.py shows by simulation that this holds its level where alternatives do not.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special


@dataclass(frozen=True)
class Interval:
    """A mean with the interval that holds it at `level`."""

    mean: float
    low: float
    high: float
    level: float
    seeds: int
    samples: int

    @property
    def covers_seeds(self) -> bool:
        """With one seed, and no other on the board, the interval speaks of the test samples only."""
        return self.seeds > 1


@dataclass(frozen=True)
class Difference:
    """`first` minus `second`, paired by seed and sample."""

    first: str
    second: str
    mean: float
    low: float
    high: float
    p: float  # of this comparison alone
    p_adjusted: float  # Holm, over the comparisons made together with it
    level: float  # of the interval: 1 - alpha / (comparisons left at this step of Holm's procedure)
    seeds: int
    samples: int


@dataclass(frozen=True)
class Variance:
    """Variance of the mean of a seeds x samples matrix, in its parts; with one seed only `sample` is known."""

    seed: float  # seeds and noise
    noise: float  # noise alone
    sample: float
    seed_df: float
    noise_df: int
    sample_df: int

    def half_width(self, alpha: float) -> float:
        """Half of the (1 - alpha) interval about the mean."""
        square = _quantile(alpha, self.sample_df) ** 2 * self.sample
        if self.seed_df:
            by_seed = _quantile(alpha, self.seed_df) ** 2 * self.seed
            square += max(by_seed, _quantile(alpha, self.noise_df) ** 2 * self.noise)
        return float(np.sqrt(square))

    def p_value(self, mean: float) -> float:
        """The alpha at which the interval about `mean` just touches 0."""
        if mean == 0.0:
            return 1.0
        smallest = 1e-12
        if self.half_width(smallest) <= abs(mean):
            return smallest
        return float(optimize.brentq(lambda alpha: self.half_width(alpha) - abs(mean), smallest, 1.0))


@dataclass(frozen=True)
class Dispersion:
    """How much seeds move scores on a board: the mean of MS_seed / p(1 - p), and the degrees of freedom it rests on."""

    value: float
    df: float


def pool_seeds(matrices: Iterable[np.ndarray]) -> Dispersion | None:
    """The dispersion that architectures' scores (S, N) have in common; None where none has two seeds."""
    known = [(scores.shape[0] - 1, _ms_seed(scores) / _scale(scores)) for scores in matrices if scores.shape[0] > 1]
    if not known:
        return None
    df, values = (np.array(column, dtype=np.float64) for column in zip(*known))
    total = (df * values).sum()
    pooled_df = total**2 / (df * values**2).sum() if total else df.sum()
    return Dispersion(float(total / df.sum()), float(pooled_df))


def variance_of_mean(scores: np.ndarray, pool: Dispersion | None = None) -> Variance:
    """The parts of the variance of the mean of `scores` (S, N), S >= 1, N >= 2; `pool` from `pool_seeds`."""
    scores = _matrix(scores)
    seeds, samples = scores.shape
    mean, by_seed, by_sample = scores.mean(), scores.mean(axis=1), scores.mean(axis=0)
    ms_sample = seeds * np.square(by_sample - mean).sum() / (samples - 1)
    if seeds == 1:
        sample = float(ms_sample / samples)
        if pool is None:
            return Variance(0.0, 0.0, sample, 0, 0, samples - 1)
        # one seed of its own: how much seeds move scores is known from the others on the board
        return Variance(pool.value * _scale(scores) / samples, 0.0, sample, pool.df, 1, samples - 1)
    ms_seed = _ms_seed(scores) if pool is None else max(_ms_seed(scores), pool.value * _scale(scores))
    residual = scores - by_seed[:, None] - by_sample[None, :] + mean
    noise_df = (seeds - 1) * (samples - 1)
    ms_res = np.square(residual).sum() / noise_df
    return Variance(
        seed=float(ms_seed / scores.size),
        noise=float(ms_res / scores.size),
        sample=float(max(ms_sample - ms_res, 0.0) / scores.size),
        seed_df=seeds - 1 if pool is None else pool.df,
        noise_df=noise_df,
        sample_df=samples - 1,
    )


def score_interval(
    scores: np.ndarray, pool: Dispersion | None = None, *, level: float = 0.95, share: bool = True
) -> Interval:
    """Mean of `scores` (S, N) with its interval; `pool` is what the board knows about seeds.

    For 0/1 scores this is Wilson's interval at the effective sample size, the number of independent samples that
    would leave as much doubt (Korn & Graubard 1998; Dean & Pagano 2015), so it stays within [0, 1] and 100 %
    correct does not mean an interval of width zero. Other scores get the t interval, cut at 0 and 1 where all are
    shares, and at 0 where none is negative.
    """
    scores = _matrix(scores)
    seeds, samples = scores.shape
    mean, alpha = float(scores.mean()), 1 - level
    variance = variance_of_mean(scores, pool)
    half = variance.half_width(alpha)
    if not (share and _is_binary(scores)):
        low = 0.0 if scores.min() >= 0 else -np.inf
        high = 1.0 if share and scores.max() <= 1 else np.inf
        return Interval(mean, max(mean - half, low), min(mean + half, high), level, seeds, samples)
    t = _quantile(alpha, variance.sample_df)
    # All right or all wrong: seeds that agree on every sample are worth one seed.
    effective = min(mean * (1 - mean) * t**2 / half**2, seeds * samples) if 0 < mean < 1 else samples
    centre = (mean + t**2 / (2 * effective)) / (1 + t**2 / effective)
    width = t * np.sqrt(mean * (1 - mean) / effective + (t / (2 * effective)) ** 2) / (1 + t**2 / effective)
    return Interval(mean, max(float(centre - width), 0.0), min(float(centre + width), 1.0), level, seeds, samples)


def paired_differences(
    scores: Mapping[str, tuple[Sequence[int], np.ndarray]], *, level: float = 0.95
) -> dict[tuple[str, str], Difference]:
    """Differences of every pair, in both orders: (first, second) -> first minus second.

    `scores` maps a label to its seeds (S) and its matrix (S, N), samples aligned. Two architectures are compared
    over the seeds that both have; a pair without a common seed is left out. The p values are corrected by Holm's
    procedure over *all* pairs, also where only those with the leader are looked at: who leads was read off the same
    scores, and correcting for k - 1 comparisons finds too many false losers (benchmarks/statistics_coverage.py).
    """
    pool = pool_seeds(matrix for _, matrix in scores.values())
    pairs: dict[tuple[str, str], tuple[np.ndarray, Variance, float]] = {}
    for first, second in itertools.combinations(scores, 2):
        common = _common(scores[first], scores[second])
        if common is not None:
            whole = _matrix(scores[first][1]), _matrix(scores[second][1])
            pairs[first, second] = (common[0] - common[1], *_tested(*common, pool, whole))
    p_values = {key: variance.p_value(centre) for key, (_, variance, centre) in pairs.items()}
    adjusted, alphas = holm(p_values, alpha=1 - level)
    out: dict[tuple[str, str], Difference] = {}
    for key, (difference, variance, centre) in pairs.items():
        half = variance.half_width(alphas[key])
        seeds, samples = difference.shape
        rest = (p_values[key], adjusted[key], 1 - alphas[key], seeds, samples)
        mean = float(difference.mean())
        out[key] = Difference(*key, mean, centre - half, centre + half, *rest)
        out[key[::-1]] = Difference(*key[::-1], -mean + 0.0, -centre - half, -centre + half, *rest)
    return out


def holm(p_values: Mapping[tuple[str, str], float], *, alpha: float) -> tuple[dict, dict]:
    """Holm's (1979) adjusted p values, and for each comparison the level its step was tested at.

    The second makes intervals agree with the verdicts: an interval drawn at that level leaves 0 out exactly where
    the adjusted p value is below `alpha`.
    """
    adjusted: dict[tuple[str, str], float] = {}
    levels: dict[tuple[str, str], float] = {}
    running, stopped_at = 0.0, 0.0
    for step, key in enumerate(sorted(p_values, key=lambda k: p_values[k])):
        left = len(p_values) - step
        running = max(running, min(1.0, left * p_values[key]))
        adjusted[key] = running
        if running >= alpha and not stopped_at:
            stopped_at = alpha / left
        levels[key] = stopped_at or alpha / left
    return adjusted, levels


def method_text(
    *,
    seeds: int,
    samples: int,
    comparisons: int,
    validated: bool = True,
    level: float = 0.95,
    sample_score: str | None = None,
    share: bool = True,
) -> list[str]:
    """Method and assumptions, in words, a paragraph each, for the report. `seeds` is the most that a row has.

    `sample_score` names what a sample scores, a `share` or a number; none: it is right or wrong.
    """
    score = "share" if sample_score is None else f"mean {sample_score}"
    of = "that the model gets right, averaged over seeds" if sample_score is None else "and the seeds"
    table = "right and wrong answers" if sample_score is None else "scores"
    interval = (
        "Score intervals are Wilson intervals at the effective sample size, so a perfect score has an interval too."
        if sample_score is None
        else f"Score intervals are Student's{', cut at 0 and 100 %' if share else ''}."
    )
    relative = " relative to p(1 - p)," if sample_score is None else ""
    percent = f"{100 * level:.0f} %"
    chosen = "checkpoints were chosen on the validation part" if validated else "the last checkpoint was taken"
    text = [
        f"The score is the {score} of the {samples:,} test samples {of}. Every "
        f"architecture was trained on the same training part; {chosen}; the test part was scored once for each run, "
        "after training."
    ]
    if seeds > 1:
        text += [
            f"Intervals hold {percent} of the time over both a new set of seeds and a new set of test samples of the "
            f"same kind. Seeds and samples are treated as crossed random effects: the variance of the mean comes from "
            f"a two-way analysis of variance of the {seeds} x {samples:,} table of {table}. What seeds "
            f"add is pooled over the architectures,{relative} with Student's t at the Welch-Satterthwaite "
            "degrees of freedom; an architecture that varies more keeps its own, larger part, and one that finished a "
            f"single seed is taken to vary as the others do. {interval}"
        ]
    else:
        text += [
            f"No architecture has finished more than one seed. The {percent} intervals therefore cover the choice of "
            "test samples and say nothing about how much another seed would change the result. Run at least three "
            "seeds before relying on a ranking."
        ]
    if comparisons:
        text += _method_of_differences(comparisons, level, binary=sample_score is None)
    return [
        *text,
        "Assumed: test samples are independent of each other and of the training samples; seeds are exchangeable, and "
        "no architecture is very much less steady over seeds than the rest; the data are like those the model will "
        "meet. The interval does not cover other splits, other budgets or better-tuned recipes.",
    ]


def _method_of_differences(comparisons: int, level: float, *, binary: bool) -> list[str]:
    few = (
        " So that few disagreements do not look like certainty, one more is counted for each side (Bonett and Price "
        "2012)."
    )
    return [
        "Differences are paired: the same seed and the same sample, one architecture's answer minus the other's, "
        "with the same analysis of variance; the part due to seeds is the sum of both architectures'."
        + (few if binary else ""),
        f"p values are corrected by Holm's procedure for {comparisons} comparison{'s' if comparisons != 1 else ''}: "
        "every pair, because the leader was chosen on the same data. The interval of a difference is drawn at the "
        "level of its step, so it leaves out zero exactly where the difference is called real. An architecture whose "
        f"difference to the leader is not significant at {100 * (1 - level):.0f} % is marked as a tie: that is absence "
        "of evidence for a difference, not evidence of equality. More seeds tell finer differences.",
    ]


def _tested(
    first: np.ndarray, second: np.ndarray, pool: Dispersion | None, whole: tuple[np.ndarray, np.ndarray]
) -> tuple[Variance, float]:
    """Variance and centre that first - second, both (S, N), is tested with; `whole` has the seeds of only one, too.

    A difference of 0/1 scores gets Bonett and Price's (2012) two extra samples, one disagreement for each side.
    """
    difference = first - second
    if _is_binary(first) and _is_binary(second):
        ones = np.ones((len(difference), 1))
        difference = np.hstack([difference, ones, -ones])
    variance = variance_of_mean(difference)
    if pool is not None:
        if len(first) > 1:
            own = _ms_seed(first) + _ms_seed(second)
            spread = max(own, pool.value * (_scale(first) + _scale(second)))
        else:  # a lone common seed shows no spread: what each shows over all its seeds, or else the board's
            own = [_ms_seed(scores) if len(scores) > 1 else 0.0 for scores in whole]
            spread = sum(max(one, pool.value * _scale(scores)) for one, scores in zip(own, whole, strict=True))
        variance = dataclasses.replace(
            variance, seed=spread / first.size, seed_df=pool.df, noise_df=max(variance.noise_df, 1)
        )
    return variance, float(difference.mean()) + 0.0


def _ms_seed(scores: np.ndarray) -> float:
    seeds, samples = scores.shape
    return float(samples * np.square(scores.mean(axis=1) - scores.mean()).sum() / (seeds - 1))


def _scale(scores: np.ndarray) -> float:
    """What MS_seed is compared with: p(1 - p) of 0/1 scores, not quite 0 where all are right or all wrong."""
    if not _is_binary(scores):
        return 1.0
    return max(float(scores.mean() * (1 - scores.mean())), 0.5 / scores.shape[1])


def _common(
    first: tuple[Sequence[int], np.ndarray], second: tuple[Sequence[int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Both matrices over the seeds that both have, (S, N)."""
    seeds = [seed for seed in first[0] if seed in set(second[0])]
    if not seeds:
        return None
    one, two = (_matrix(matrix)[[list(have).index(seed) for seed in seeds]] for have, matrix in (first, second))
    if one.shape[1] != two.shape[1]:
        raise ValueError(f"one was scored on {one.shape[1]} samples, the other on {two.shape[1]}; pairs need the same")
    return one, two


def _matrix(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise ValueError(f"scores have shape {scores.shape}; (seeds, samples) with at least 1 and 2 is needed")
    return scores


def _is_binary(scores: np.ndarray) -> bool:
    return bool(np.isin(scores, (0.0, 1.0)).all())


def _quantile(alpha: float, df: float) -> float:
    return -float(special.stdtrit(df, alpha / 2))
