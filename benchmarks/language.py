"""What a recurrent language model reaches on tinyshakespeare, and what carrying its state on is worth.

    CORINTH_DATA=... python benchmarks/language.py [--budget 13ep] [--run FOLDER] [--only text carried] [--threads 1]

`text` trains a model of characters by `SETTINGS` (or takes such a run) and reads the last tenth of the text once.
`carried` trains a small model with windows that go on where the last ended, and one with shuffled windows that each
begin with an empty state, on the same number of windows. Results are merged into results/language.json.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import corinth
from common import machine, real_data, trained
from corinth.data import open_data
from corinth.data.sequences.windows import TrainingWindows, Windows
from corinth.training import language

RESULTS = Path(__file__).parent / "results" / "language.json"
SHARES = {"val_share": 0.03, "test_share": 0.1}
SETTINGS: dict[str, Any] = {
    "arch": "lstm",
    "options": {"hidden_size": 512, "num_layers": 2, "drop_rate": 0.3},
    "batch_size": 32,
    "max_len": 96,
    "lr": 0.002,
    "weight_decay": 0.05,
    "precision": "bf16",
}
SMALL: dict[str, Any] = {
    "arch": "lstm",
    "options": {"hidden_size": 96, "input_size": 32, "drop_rate": 0.0},
    "budget": "6ep",
    "evaluate_every": "6ep",
    "batch_size": 16,
    "max_len": 64,
    "lr": 0.004,
}
CHARACTERS = 150_000  # of the text, for the small models


class Shuffled(TrainingWindows):
    """The same windows in any order, each a stream that begins."""

    def arrange(self, order: Tensor, batch_size: int) -> Tensor:
        super().arrange(order, batch_size)
        return order

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Windows, Tensor]]:
        for rows, inputs, targets in super().stream(batches):
            fresh = torch.ones(len(rows), dtype=torch.bool)
            yield rows, Windows(inputs.values, inputs.lengths, inputs.streams, fresh, inputs.chars), targets


def text(budget: str, run: str | None, folder: str) -> dict[str, Any]:
    """Scores of the test part."""
    if run is None:
        data = open_data("tinyshakespeare", **SHARES)
        run = str(trained(data=data, budget=budget, output=f"{folder}/run", **SETTINGS, **SHARES).path)
    rows = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    found = corinth.load_run(run).evaluate(open_data("tinyshakespeare", **SHARES), "test")
    best = next(row for row in reversed(rows) if row["best"])
    return {
        "test": found.to_dict(),
        "validation": {name: value for name, value in best.items() if name.startswith("val_")},
        "epochs": best["epoch"],
        "seconds": rows[-1]["seconds"],
        "parameters": sum(parameter.numel() for parameter in corinth.load_run(run).model.parameters()),
        "curve": [[row["epoch"], row["val_nats_per_character"]] for row in rows],
        "machine": machine(),
    }


def carried(seeds: int, folder: str) -> dict[str, Any]:
    """Validation losses of the last evaluation, a seed each."""
    part = Path(folder, "part.txt")
    whole = real_data("tinyshakespeare/input.txt").read_text(encoding="utf-8")
    part.write_text(whole[:CHARACTERS], encoding="utf-8")
    data = open_data(part)
    found: dict[str, Any] = {"carried on": [], "shuffled": [], "machine": machine()}
    for seed in range(seeds):
        for name, windows in (("carried on", TrainingWindows), ("shuffled", Shuffled)):
            language.TrainingWindows = windows
            ran = trained(data=data, seed=seed, output=f"{folder}/{name}{seed}", **SMALL)
            found[name].append(ran.metrics[-1]["val_loss"])
    language.TrainingWindows = TrainingWindows
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("text", "carried"), default=["text", "carried"])
    parser.add_argument("--budget", default="13ep")
    parser.add_argument("--run", help="a run folder that was trained by the settings of this script")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        if "text" in args.only:
            results["tinyshakespeare"] = text(args.budget, args.run, folder)
            print(json.dumps(results["tinyshakespeare"]["test"], indent=1))
        if "carried" in args.only:
            results["carried"] = carried(args.seeds, folder)
            for name in ("carried on", "shuffled"):
                losses = results["carried"][name]
                print(f"{name:10}  {statistics.mean(losses):.4f} ({min(losses):.4f} to {max(losses):.4f})")
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
