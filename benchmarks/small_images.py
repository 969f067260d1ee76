"""Train every architecture by its own recipe on small images, and score it on images it has not seen.

    python benchmarks/small_images.py [--data digits cifar10_subset] [--models vgg16 ...] [--jobs 2]

Each row is one `corinth train` and one `corinth evaluate`, one seed, one thread, and nothing changed in the recipe but
the budget and bfloat16, which keeps the large networks affordable. What a network must beat is measured on the same
split: softmax regression on the pixels, which is what a network that does not learn features comes to at best. The
results are merged into benchmarks/results/small_images.json, and the exit code is 1 if a network does not beat it.
"""

import argparse
import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

import corinth
from common import machine, trained
from corinth.data.images import ImageData
from corinth.errors import CorinthError

EPOCHS = {"digits": 15, "cifar10_subset": 15}
CLASSIFIERS = corinth.list_models(task="image-classification")
RESULTS = Path(__file__).parent / "results" / "small_images.json"


def pixels(data: ImageData, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    rows = data.positions(split)
    images = torch.stack([torch.from_numpy(data.source.image(int(row))) for row in rows])
    return images.flatten(1).float() / 255, torch.from_numpy(data.labels(split))


def softmax_regression(name: str) -> float:
    """Test accuracy of a linear model on the pixels, its weight decay chosen on the validation part."""
    torch.set_num_threads(1)
    data = corinth.open_data(name)
    x, y = pixels(data, "train")
    held_out = [pixels(data, "val"), pixels(data, "test")]
    mean = x.mean(0)
    best = (-1.0, -1.0)
    for decay in (1e-4, 1e-3, 1e-2, 1e-1):
        linear = torch.nn.Linear(x.shape[1], data.num_classes)
        torch.nn.init.zeros_(linear.weight)
        solver = torch.optim.LBFGS(linear.parameters(), max_iter=300, line_search_fn="strong_wolfe")

        def loss(linear: torch.nn.Linear = linear, decay: float = decay) -> torch.Tensor:
            linear.zero_grad()
            value = torch.nn.functional.cross_entropy(linear(x - mean), y) + decay * linear.weight.square().sum()
            value.backward()
            return value

        solver.step(loss)
        with torch.no_grad():
            val, test = ((linear(a - mean).argmax(1) == b).float().mean().item() for a, b in held_out)
        best = max(best, (val, test))
    return best[1]


def train_and_score(arch: str, name: str) -> dict:
    torch.set_num_threads(1)
    command = f"corinth train --data {name} --model {arch} --epochs {EPOCHS[name]} --precision bf16 --threads 1"
    row = {"data": name, "arch": arch, "command": command, "machine": machine()}
    try:
        with tempfile.TemporaryDirectory() as folder:
            fields = {"budget": f"{EPOCHS[name]}ep", "precision": "bf16", "threads": 1}
            run = trained(arch=arch, data=name, output=f"{folder}/run", **fields)
            scored = corinth.load_run(run.path).evaluate(corinth.open_data(name))
    except CorinthError as error:
        return {**row, "error": str(error)}
    last = run.metrics[-1]
    return {
        **row,
        "test_top1": round(scored.top1, 4),
        "train_loss": round(last["train_loss"], 4),
        "best_epoch": run.best["epoch"] if run.best else None,
        "minutes": round(last["seconds"] / 60, 1),
        "curve": [round(r["val_top1"], 4) for r in run.metrics],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=EPOCHS, default=["digits"])
    parser.add_argument("--models", nargs="+", choices=CLASSIFIERS, default=CLASSIFIERS)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, one thread each")
    args = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"softmax_regression": {}, "rows": []}
    rows = {(row["data"], row["arch"]): row for row in results["rows"]}
    worse = []
    with ProcessPoolExecutor(args.jobs) as pool:
        linear = {name: pool.submit(softmax_regression, name) for name in args.data}
        runs = [pool.submit(train_and_score, arch, name) for name in args.data for arch in args.models]
        for done in as_completed(runs):
            row = done.result()
            rows[row["data"], row["arch"]] = row
            bar = results["softmax_regression"][row["data"]] = round(linear[row["data"]].result(), 4)
            print({key: value for key, value in row.items() if key not in ("machine", "command")}, flush=True)
            if row.get("test_top1", 0.0) <= bar:
                worse.append(f"{row['arch']} on {row['data']}")
            results["rows"] = [rows[key] for key in sorted(rows)]
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if worse:
        sys.exit(f"no better than a linear model: {', '.join(worse)}")


if __name__ == "__main__":
    main()
