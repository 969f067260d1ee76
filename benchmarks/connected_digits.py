"""Strings of spoken digits by speakers who were not heard in training: how many digits are wrong.

    CORINTH_DATA=... python benchmarks/connected_digits.py [--pairs 0 1 2] [--seeds 1] [--epochs 20] [--threads 1]

Recordings of one digit are strung together, three to six of one speaker with 40 to 200 ms of near silence between, and
written as wavs with a table of their transcripts; in the training part many begin late or end early, as some speakers'
do. Two of the six speakers are the test part, others for each pair; what they said is in no other part. A network for
connectionist temporal classification is trained, its checkpoint chosen on strings of the other four, and scored once by
prefix beam search. Results are merged into results/connected_digits.json.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

import corinth
from common import real_data, trained
from corinth.predictor import Transcriber
from spoken_digits import RECIPE, digits_of, held_out, merge

RESULTS = Path(__file__).parent / "results" / "connected_digits.json"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STRINGS = {"train": 800, "val": 50, "test": 200}  # of each speaker
RATE = 8000


def write_strings(recordings: Path, pair: int, folder: Path) -> Path:
    """Strings of all speakers and a table of them; a tenth of what each of the four said is in none but those that
    validate."""
    chance = np.random.default_rng(pair)
    rows = ["path,transcript,split"]
    test = held_out(recordings, pair)
    for speaker, files in digits_of(recordings).items():
        cut = len(files) // 10
        shuffled = [files[i] for i in chance.permutation(len(files))]
        parts = {"test": shuffled} if speaker in test else {"val": shuffled[:cut], "train": shuffled[cut:]}
        for part, own in parts.items():
            for number in range(STRINGS[part]):
                chosen = [own[i] for i in chance.integers(len(own), size=chance.integers(3, 7))]
                path = folder / f"{part}_{speaker}_{number}.wav"
                soundfile.write(path, strung(chosen, chance, clip=part == "train"), RATE)
                words = " ".join(NAMES[int(file.stem.split("_")[0])] for file in chosen)
                rows.append(f"{path.name},{words},{part}")
    (folder / "strings.csv").write_text("\n".join(rows))
    return folder / "strings.csv"


def strung(files: list[Path], chance: np.random.Generator, *, clip: bool) -> np.ndarray:
    """The recordings one after the other, near silence before, between and behind them."""
    pieces = []
    for file in files:
        samples = soundfile.read(file, dtype="float32")[0]
        pieces += [_pause(chance), clipped(samples, chance) if clip else samples]
    return np.concatenate([*pieces, _pause(chance)])


def clipped(samples: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """At seven of ten ends without what is quieter than some level, 4 to 30 dB below the loudest 10 ms."""
    size = RATE // 100
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)
    levels = np.where(chance.random(2) < 0.7, chance.uniform(4, 30, 2), np.inf)
    first, last = (np.flatnonzero(power >= power.max() - level)[[0, -1]] for level in levels)
    end = len(samples) if last[1] == len(frames) - 1 else (last[1] + 1) * size
    return samples[first[0] * size : end]


def _pause(chance: np.random.Generator) -> np.ndarray:
    return chance.normal(0, 1e-4, int(chance.uniform(0.04, 0.2) * RATE)).astype(np.float32)


def measure(pair: int, seed: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Train and score once."""
    recordings = real_data("spoken_digits")
    with tempfile.TemporaryDirectory() as folder:
        data = corinth.open_data(write_strings(recordings, pair, Path(folder)))
        start = time.perf_counter()
        run = trained(data=data, seed=seed, output=f"{folder}/run", **fields)
        seconds = round(time.perf_counter() - start, 1)
        network = corinth.load_run(run.path)
        assert isinstance(network, Transcriber)
        found, best_path = (network.evaluate(data, "test", beam=beam) for beam in (16, 1))
    return {
        "speakers": list(held_out(recordings, pair)),
        "seed": seed,
        "seconds": seconds,
        "best_path": best_path.error_rate,
        **found.to_dict(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    fields = {**RECIPE, "budget": f"{args.epochs}ep", "batch_size": 32}
    rows = []
    for pair in args.pairs:
        for seed in range(args.seeds):
            rows.append(found := measure(pair, seed, fields))
            print(
                f"{' and '.join(found['speakers']):24} seed {seed}: {found['error_rate']:.1%} of {found['labels']} "
                f"digits wrong (best path {found['best_path']:.1%}), {found['exact']:.1%} of strings right, "
                f"{found['seconds']:.0f} s",
                flush=True,
            )
    rates = [row["error_rate"] for row in rows]
    print(f"mean {statistics.mean(rates):.1%} ({min(rates):.1%} to {max(rates):.1%})")
    merge(RESULTS, rows, args.epochs)


if __name__ == "__main__":
    main()
