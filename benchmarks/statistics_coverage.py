"""Do the board's intervals and tests hold the level they state? Simulated, where the truth is known.

    python benchmarks/statistics_coverage.py [--runs 2000] [--out table.md]

A model of seed s is right on sample i with probability logistic(mu + seed_s + sample_i); two architectures share
most of what makes a sample hard. 95 % intervals should hold the true accuracy in 95 % of the simulated comparisons
or a little more, and a true difference of zero should be called real in 5 % or a little less. Compared with
Satterthwaite's degrees of freedom, the percentile bootstrap over the seeds' means, and the hierarchical bootstrap
(seeds and samples resampled).
"""

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import integrate, optimize, stats

from corinth.compare.statistics import holm, paired_differences, pool_seeds, score_interval, variance_of_mean

ALPHA = 0.05
HEAD = """# Do the board's intervals and tests hold the level they state?

Made by `python benchmarks/statistics_coverage.py --runs {runs} --out benchmarks/statistics_coverage.md` (its docstring
says how the worlds are made). Coverage should be 95 % or a little more, false findings 5 % or a little less; with
{runs} runs a rate near 5 % has a standard error of {error:.1f} points. S seeds, N test samples.
"""
Scores = dict[str, tuple[list[int], np.ndarray]]
BOOTSTRAPPED = 5  # every so many runs, as bootstraps are slow and their failures gross


@dataclass(frozen=True)
class World:
    """Sizes and effects on the logit scale. `sample_sd` 3 makes most samples easy or hard for every seed."""

    seeds: int
    samples: int
    seed_sd: float
    second_seed_sd: float | None = None  # of the second architecture, where it differs
    sample_sd: float = 3.0
    shared: float = 0.8  # share of the sample effect's variance that two architectures have in common
    mu: float = 4.0

    def accuracy(self) -> float:
        """True accuracy: the mean over seeds and samples."""
        return _accuracy(self.mu, np.hypot(self.seed_sd, self.sample_sd))

    def draw(self, rng: np.random.Generator, architectures: int) -> np.ndarray:
        """(architectures, seeds, samples) of 0/1."""
        common = rng.normal(size=self.samples) * np.sqrt(self.shared)
        own = rng.normal(size=(architectures, 1, self.samples)) * np.sqrt(1 - self.shared)
        seed = rng.normal(size=(architectures, self.seeds, 1)) * self.seed_sd
        logits = self.mu + self.sample_sd * (common + own) + seed
        if self.second_seed_sd is not None:
            logits[1] += seed[1] * (self.second_seed_sd / self.seed_sd - 1) + self._shift
        return (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)

    @cached_property
    def _shift(self) -> float:
        """What the second architecture needs in addition for the same true accuracy."""
        sd = np.hypot(self.second_seed_sd, self.sample_sd)
        return optimize.brentq(lambda mu: _accuracy(mu, sd) - self.accuracy(), -20, 20) - self.mu


def _accuracy(mu: float, sd: float) -> float:
    return integrate.quad(lambda z: stats.norm.pdf(z) / (1 + np.exp(-(mu + sd * z))), -9, 9)[0]


def satterthwaite(scores: np.ndarray) -> tuple[float, float]:
    """The textbook quasi-F: one pooled degree of freedom, a negative component cut at the samples' part."""
    seeds, samples = scores.shape
    mean, by_seed, by_sample = scores.mean(), scores.mean(1), scores.mean(0)
    ms_seed = samples * np.square(by_seed - mean).sum() / (seeds - 1)
    ms_sample = seeds * np.square(by_sample - mean).sum() / (samples - 1)
    residual = scores - by_seed[:, None] - by_sample + mean
    ms_res = np.square(residual).sum() / ((seeds - 1) * (samples - 1))
    total = max(ms_seed + ms_sample - ms_res, ms_sample)
    parts = ms_seed**2 / (seeds - 1) + ms_sample**2 / (samples - 1) + ms_res**2 / ((seeds - 1) * (samples - 1))
    df = max(total**2 / parts, 1.0) if parts else samples - 1
    half = stats.t.ppf(1 - ALPHA / 2, df) * np.sqrt(total / scores.size)
    return mean - half, mean + half


def seed_bootstrap(scores: np.ndarray, rng: np.random.Generator, draws: int = 400) -> tuple[float, float]:
    """Percentile bootstrap over the seeds' means."""
    means = scores.mean(axis=1)
    resampled = means[rng.integers(0, len(means), (draws, len(means)))].mean(axis=1)
    low, high = np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2])
    return low, high


def hierarchical_bootstrap(scores: np.ndarray, rng: np.random.Generator, draws: int = 400) -> tuple[float, float]:
    """Percentile bootstrap over seeds and, independently, over samples."""
    seeds, samples = scores.shape
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    counts = [np.bincount(rng.integers(0, samples, samples), minlength=samples) for _ in range(draws)]
    resampled = np.einsum("ds,sn,dn->d", seed_weights, scores, np.array(counts), optimize=True) / scores.size
    low, high = np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2])
    return low, high


def ours(scores: np.ndarray) -> tuple[float, float]:
    interval = score_interval(scores)
    return interval.low, interval.high


def wald(scores: np.ndarray) -> tuple[float, float]:
    """Ours without Wilson's form, to see what that form adds."""
    half = variance_of_mean(scores).half_width(ALPHA)
    return scores.mean() - half, scores.mean() + half


def our_test(first: np.ndarray, second: np.ndarray) -> bool:
    seeds = range(len(first))
    return paired_differences({"a": (seeds, first), "b": (seeds, second)})["a", "b"].p_adjusted < ALPHA


def seeds_paired(first: np.ndarray, second: np.ndarray) -> bool:
    """Ours, but with the seeds' part from the paired differences: S - 1 degrees of freedom."""
    extra = np.ones((len(first), 1))
    difference = np.hstack([first - second, extra, -extra])
    return variance_of_mean(difference).half_width(ALPHA) < abs(difference.mean())


def excludes_zero(interval: tuple[float, float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def study(world: World, runs: int, rng: np.random.Generator) -> dict[str, float]:
    """Coverage, mean width and false positives of each method in one world."""
    truth = world.accuracy()
    methods: dict[str, Callable[[np.ndarray], tuple[float, float]]] = {
        "ours": ours,
        "ours, no Wilson": wald,
        "Satterthwaite": satterthwaite,
        "bootstrap, seeds": lambda x: seed_bootstrap(x, rng),
        "bootstrap, both": lambda x: hierarchical_bootstrap(x, rng),
    }
    found: dict[str, list[float]] = {}
    for run in range(runs):
        first, second = world.draw(rng, 2)
        for name, method in methods.items():
            if name.startswith("bootstrap") and run % BOOTSTRAPPED:
                continue
            low, high = method(first)
            found.setdefault(f"covers: {name}", []).append(low <= truth <= high)
            found.setdefault(f"width: {name}", []).append(high - low)
            if name != "ours, no Wilson":
                real = our_test(first, second) if name == "ours" else excludes_zero(method(first - second))
                found.setdefault(f"false: {name}", []).append(real)
        found.setdefault("false: ours, seeds paired", []).append(seeds_paired(first, second))
    return {name: float(np.mean(values)) for name, values in found.items()}


@dataclass(frozen=True)
class Board:
    """Architectures with their true accuracies and seed effects."""

    seeds: int
    samples: int
    seed_sds: tuple[float, ...]
    accuracies: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> Scores:
        world = World(self.seeds, self.samples, 1.0)
        common = rng.normal(size=self.samples) * np.sqrt(world.shared) * world.sample_sd
        out: Scores = {}
        for number, (sd, mu) in enumerate(zip(self.seed_sds, self.mus)):
            own = rng.normal(size=self.samples) * np.sqrt(1 - world.shared) * world.sample_sd
            logits = mu + common + own + rng.normal(size=(self.seeds, 1)) * sd
            right = rng.random((self.seeds, self.samples)) < 1 / (1 + np.exp(-logits))
            out[str(number)] = (list(range(self.seeds)), right.astype(float))
        return out

    @cached_property
    def mus(self) -> list[float]:
        """Where on the logit scale the accuracies are."""
        sds = [np.hypot(sd, World.sample_sd) for sd in self.seed_sds]
        pairs = zip(self.accuracies, sds)
        return [optimize.brentq(lambda mu, a=a, sd=sd: _accuracy(mu, sd) - a, -20, 40) for a, sd in pairs]


def board_study(board: Board, runs: int, rng: np.random.Generator) -> list[float]:
    """Shares: boards with a false finding (ours; each pair with its own seeds only; corrected for the leader only),
    true differences found (ours; own seeds only), and accuracies covered by the pooled intervals."""
    out = np.zeros(6)
    truth = dict(zip(map(str, range(len(board.accuracies))), board.accuracies))
    for _ in range(runs):
        scores = board.draw(rng)
        pairs = {key: d for key, d in paired_differences(scores).items() if key[0] < key[1]}
        alone = {key: paired_differences({k: scores[k] for k in key})[key].p for key in pairs}
        alone = holm(alone, alpha=ALPHA)[0]
        equal = [key for key in pairs if truth[key[0]] == truth[key[1]]]
        other = [key for key in pairs if key not in equal]
        leader = max(scores, key=lambda label: scores[label][1].mean())
        with_leader = [pairs[key].p for key in equal if leader in key]
        pool = pool_seeds(matrix for _, matrix in scores.values())
        intervals = {label: score_interval(matrix, pool) for label, (_, matrix) in scores.items()}
        out += [
            any(pairs[key].p_adjusted < ALPHA for key in equal),
            any(alone[key] < ALPHA for key in equal),
            min(with_leader, default=1.0) * (len(scores) - 1) < ALPHA,
            np.mean([pairs[key].p_adjusted < ALPHA for key in other]) if other else np.nan,
            np.mean([alone[key] < ALPHA for key in other]) if other else np.nan,
            np.mean([found.low <= truth[label] <= found.high for label, found in intervals.items()]),
        ]
    return list(out / runs)


BOARDS = [
    ("5 equals, steady", Board(3, 400, (0.2,) * 5, (0.9,) * 5)),
    ("5 equals, unsteady", Board(3, 2000, (0.8,) * 5, (0.9,) * 5)),
    ("5 equals, unsteady", Board(2, 2000, (0.8,) * 5, (0.9,) * 5)),
    ("5 equals, unsteady", Board(5, 2000, (0.8,) * 5, (0.9,) * 5)),
    ("10 equals, unsteady", Board(3, 2000, (0.8,) * 10, (0.9,) * 10)),
    ("10 equals, unsteady", Board(5, 2000, (0.8,) * 10, (0.9,) * 10)),
    ("5 equals, 2 unsteady", Board(3, 2000, (0.8, 0.8, 0.2, 0.2, 0.2), (0.9,) * 5)),
    ("5 equals, 1 very unsteady", Board(3, 2000, (0.8, 0.1, 0.1, 0.1, 0.1), (0.9,) * 5)),
    ("5 near perfect equals", Board(3, 2000, (0.4,) * 5, (0.99,) * 5)),
    ("4 equals, 1 worse by 6 points", Board(3, 400, (0.2,) * 5, (0.95,) * 4 + (0.89,))),
    ("4 equals, 1 worse by 6 points", Board(3, 2000, (0.4,) * 5, (0.95,) * 4 + (0.89,))),
    ("4 equals, 1 worse by 6 points", Board(5, 400, (0.2,) * 5, (0.95,) * 4 + (0.89,))),
    ("4 equals, 1 unsteady and worse by 9", Board(3, 400, (0.2,) * 4 + (0.8,), (0.97,) * 4 + (0.88,))),
]


def _sd(world: World) -> str:
    return str(world.seed_sd) if world.second_seed_sd is None else f"{world.seed_sd} and {world.second_seed_sd}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000, help="simulated comparisons in each row")
    parser.add_argument("--out", type=Path, help="write the table here as well")
    options = parser.parse_args()
    rng = np.random.default_rng(2024)
    lines: list[str] = []
    columns = ["ours", "ours, no Wilson", "Satterthwaite", "bootstrap, seeds", "bootstrap, both"]
    head = ["S", "N", "seed sd", "accuracy", *columns]
    worlds = [
        World(seeds, samples, seed_sd, mu=mu)
        for mu, seeds, samples, seed_sd in itertools.product((4.0, 9.0), (2, 3, 5), (200, 2000), (0.0, 0.2, 0.8))
    ]
    worlds += [World(seeds, 2000, 0.1, second_seed_sd=0.8) for seeds in (2, 3, 5)]
    results = [study(world, options.runs, rng) for world in worlds]
    for title, key, names in (
        ("Coverage of 95 % score intervals", "covers", columns),
        ("Mean width of those intervals, points", "width", columns),
        ("Differences of zero called real (alpha 5 %)", "false", ["ours", "ours, seeds paired", *columns[2:]]),
    ):
        header = head[:4] + names
        lines += [
            f"\n### {title}, n = {options.runs:,} a row (bootstraps: a fifth)\n",
            "| " + " | ".join(header) + " |",
            "|---" * len(header) + "|",
        ]
        for world, result in zip(worlds, results):
            cells = [f"{100 * result[f'{key}: {name}']:.1f}" for name in names]
            row = [str(world.seeds), str(world.samples), _sd(world), f"{100 * world.accuracy():.1f}", *cells]
            lines.append("| " + " | ".join(row) + " |")
    runs = max(options.runs // 2, 1)
    lines += [f"\n### Whole boards, p values corrected for all pairs (Holm), %, n = {runs:,} a row\n"]
    head = [
        "board",
        "S",
        "N",
        "false finding: ours",
        "each pair's own seeds only",
        "ours, corrected for the leader only",
    ]
    head += ["true ones found: ours", "each pair's own seeds only", "intervals that cover"]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, board in BOARDS:
        cells = ["" if np.isnan(rate) else f"{100 * rate:.1f}" for rate in board_study(board, runs, rng)]
        lines.append(f"| {name} | {board.seeds} | {board.samples} | " + " | ".join(cells) + " |")
    error = 100 * (0.05 * 0.95 / options.runs) ** 0.5
    text = HEAD.format(runs=options.runs, error=error) + "\n" + "\n".join(lines).strip() + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
