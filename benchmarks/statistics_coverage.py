"""Do the board's intervals and tests hold the level they state? Simulated, where the truth is known.

    python benchmarks/statistics_coverage.py [--runs 2000] [--out table.md]

A model of seed s is right on sample i with probability logistic(mu + seed_s + sample_i); two architectures share
most of what makes a sample hard. 95 % intervals should hold the true accuracy in 95 % of the simulated comparisons
or a little more, and a true difference of zero should be called real in 5 % or a little less. Compared with
Satterthwaite's degrees of freedom, the percentile bootstrap over the seeds' means, and the hierarchical bootstrap
(seeds and samples resampled).
"""

import argparse
import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import integrate, optimize, stats

from corinth.compare.statistics import paired_differences, score_interval, variance_of_mean

ALPHA = 0.05
HEAD = """# Do the board's intervals and tests hold the level they state?

Made by `python benchmarks/statistics_coverage.py --runs {runs} --out benchmarks/statistics_coverage.md` (its docstring
says how the worlds are made). Coverage should be 95 % or a little more, false findings 5 % or a little less; with
{runs} runs a rate near 5 % has a standard error of {error:.1f} points. S seeds, N test samples.
"""
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


def family_wise(world: World, architectures: int, runs: int, rng: np.random.Generator) -> tuple[float, float]:
    """Share of boards of equals on which some architecture is called worse than the leader.

    First as the board does it, corrected for all pairs; then for the comparisons with the leader only (Bonferroni).
    """
    all_pairs = leader_only = 0
    for _ in range(runs):
        scores = {str(i): (range(world.seeds), x) for i, x in enumerate(world.draw(rng, architectures))}
        leader = max(scores, key=lambda label: scores[label][1].mean())
        rivals = [d for key, d in paired_differences(scores).items() if key[0] == leader]
        all_pairs += min(d.p_adjusted for d in rivals) < ALPHA
        leader_only += min(d.p for d in rivals) * len(rivals) < ALPHA
    return all_pairs / runs, leader_only / runs


def power(world: World, points: float, runs: int, rng: np.random.Generator) -> list[float]:
    """Share of runs in which an architecture that is truly worse by so many points is found to be."""
    target = world.accuracy() - points / 100
    sd = np.hypot(world.seed_sd, world.sample_sd)
    worse = dataclasses.replace(world, mu=optimize.brentq(lambda mu: _accuracy(mu, sd) - target, -20, 20))
    tests = (our_test, seeds_paired, lambda a, b: excludes_zero(satterthwaite(a - b)))
    found = np.zeros(len(tests))
    for _ in range(runs):
        state = rng.bit_generator.state  # the same samples are hard for both
        first = world.draw(rng, 2)[0]
        rng.bit_generator.state = state
        second = worse.draw(rng, 2)[1]
        found += [test(first, second) for test in tests]
    return list(found / runs)


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
    lines += [f"\n### Boards of equals with a false loser, %, n = {runs:,} a row\n"]
    lines += ["| S | N | seed sd | architectures | corrected for all pairs (ours) | for those with the leader |"]
    lines += ["|---" * 6 + "|"]
    for seeds, samples, sd, count in ((3, 500, 0.2, 5), (3, 2000, 0.8, 5), (3, 2000, 0.8, 10), (5, 2000, 0.8, 10)):
        rates = family_wise(World(seeds, samples, sd), count, runs, rng)
        lines.append(f"| {seeds} | {samples} | {sd} | {count} | " + " | ".join(f"{100 * r:.1f}" for r in rates) + " |")
    lines += ["\n### Real differences found, one comparison, accuracy 87.4 %, seed sd 0.2, %\n"]
    lines += [
        "| S | N | true difference, points | ours | ours, seeds paired | Satterthwaite |",
        "|---|---|---|---|---|---|",
    ]
    for seeds, samples, points in itertools.product((3, 5), (400, 2000), (1, 3, 6)):
        rates = power(World(seeds, samples, 0.2), points, max(options.runs // 4, 1), rng)
        lines.append(f"| {seeds} | {samples} | {points} | " + " | ".join(f"{100 * rate:.0f}" for rate in rates) + " |")
    error = 100 * (0.05 * 0.95 / options.runs) ** 0.5
    text = HEAD.format(runs=options.runs, error=error) + "\n" + "\n".join(lines).strip() + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
