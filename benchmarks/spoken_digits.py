"""Which digit is said, by speakers who were not heard in training.

    CORINTH_DATA=... python benchmarks/spoken_digits.py [--pairs 0 1 2] [--seeds 3] [--epochs 40] [--threads 1]
    CORINTH_DATA=... python benchmarks/spoken_digits.py --choose

Two of the six speakers are the test part, others for each pair: pairs 0 to 2 have each speaker once, 3 to 14 are the
other pairs. The checkpoint is chosen on a tenth of what the other four said, and scored once for each seed. `--choose`
is how the recipe was found: of the four training speakers of pair 0 each is left out in turn, and the two test speakers
are not opened at all. Results are merged into results/spoken_digits.json.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

import corinth
from common import machine, real_data, trained

RESULTS = Path(__file__).parent / "results" / "spoken_digits.json"
RECIPE: dict[str, Any] = {  # of strings of digits too
    "arch": "bilstm",
    "options": {"drop_rate": 0.5},
    "series": {"cepstra": 13, "deltas": True, "stack": 2},
    "series_augmentation": {
        "trim": 0.7,
        "speed": 0.2,
        "pitch": 0.2,
        "noise": 0.5,
        "time_masks": 2,
        "time_mask": 0.15,
        "channel_masks": 2,
        "channel_mask": 0.2,
    },
}
OF_ONE_DIGIT: dict[str, Any] = {"options": {"drop_rate": 0.5, "pool": "mean"}, "label_smoothing": 0.1}


def digits_of(recordings: Path) -> dict[str, list[Path]]:
    """Files `digit_speaker_number.wav` of each speaker."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(recordings.rglob("*.wav")):
        found[file.stem.split("_")[1]].append(file)
    return dict(sorted(found.items()))


def held_out(recordings: Path, pair: int) -> tuple[str, str]:
    """The two test speakers: first three pairs that have each speaker once, then the others."""
    speakers = list(digits_of(recordings))
    apart = [(speakers[2 * i], speakers[2 * i + 1]) for i in range(3)]
    return [*apart, *(both for both in itertools.combinations(speakers, 2) if both not in apart)][pair]


def write_table(recordings: Path, test: Collection[str], leave: Collection[str], table: Path) -> Path:
    """The test part is `test`'s; `leave`'s are not in it at all."""
    rows = ["path,label,split"]
    for speaker, files in digits_of(recordings).items():
        part = "test" if speaker in test else "train"
        rows += [f"{file},{file.stem.split('_')[0]},{part}" for file in files if speaker not in leave]
    table.write_text("\n".join(rows))
    return table


def score(test: Collection[str], leave: Collection[str], seed: int, fields: dict[str, Any]) -> tuple[float, float]:
    """Accuracy on the test part, and seconds of training."""
    recordings = real_data("spoken_digits")
    with tempfile.TemporaryDirectory() as folder:
        data = corinth.open_data(write_table(recordings, test, leave, Path(folder, "speakers.csv")))
        start = time.perf_counter()
        run = trained(data=data, seed=seed, output=f"{folder}/run", **fields)
        seconds = time.perf_counter() - start
        network: Any = corinth.load_run(run.path)
        return network.evaluate(data, "test").score, round(seconds, 1)


def merge(path: Path, rows: list[dict[str, Any]], epochs: int) -> None:
    """Write rows into a file of results, in place of those of the same speakers and seed."""
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    mine = [(row["speakers"], row["seed"]) for row in rows]
    rows = [row for row in known if (row["speakers"], row["seed"]) not in mine] + rows
    rows.sort(key=lambda row: (row["speakers"], row["seed"]))
    path.write_text(json.dumps({"epochs": epochs, "rows": rows, "machine": machine()}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--choose", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    fields = {**RECIPE, **OF_ONE_DIGIT, "budget": f"{args.epochs}ep"}
    recordings = real_data("spoken_digits")
    if args.choose:
        closed = held_out(recordings, 0)
        for speaker in [name for name in digits_of(recordings) if name not in closed]:
            found, seconds = score([speaker], closed, 0, fields)
            print(f"without {speaker:10} {found:.1%}, {seconds:.0f} s", flush=True)
        return
    rows = []
    for pair in args.pairs:
        test = held_out(recordings, pair)
        for seed in range(args.seeds):
            found, seconds = score(test, (), seed, fields)
            rows.append({"speakers": list(test), "seed": seed, "accuracy": found, "seconds": seconds})
            print(f"{' and '.join(test):24} seed {seed}: {found:.1%}, {seconds:.0f} s", flush=True)
    scores = [row["accuracy"] for row in rows]
    print(f"mean {statistics.mean(scores):.1%} ({min(scores):.1%} to {max(scores):.1%})")
    merge(RESULTS, rows, args.epochs)


if __name__ == "__main__":
    main()
