"""Train on all of Fashion-MNIST by the recipes that the architectures come with, and score the 10,000 test images.

    python benchmarks/fashion_mnist.py [--models lenet5 cnn resnet20_cifar10] [--seed 0] [--threads 2]

Each is a `corinth train --data fashion_mnist`, then a `corinth evaluate RUN`; the results name the command.
Checkpoints are chosen on 6,000 images held out of the training part; the test part is scored once. The curve and the
numbers go to benchmarks/results/, and the exit code is 1 if an architecture misses the accuracy it is expected to
reach.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

import corinth
from common import machine, trained

# epochs, what differs from the architecture's own recipe, the top-1 on the test part that it is expected to reach
RUNS: dict[str, tuple[int, dict[str, Any], float]] = {
    "lenet5": (20, {}, 0.905),
    "cnn": (20, {}, 0.925),
    "resnet20_cifar10": (24, {"precision": "bf16"}, 0.94),
}
RESULTS = Path(__file__).parent / "results"


def train_and_score(arch: str, seed: int, threads: int | None) -> dict:
    epochs, changes, expected = RUNS[arch]
    folder = Path("runs") / "fashion_mnist" / f"{arch}-seed{seed}"
    run = trained(
        arch=arch,
        data="fashion_mnist",
        budget=f"{epochs}ep",
        seed=seed,
        threads=threads,
        output=str(folder),
        **changes,
    )
    if run.interrupted:
        sys.exit(f"{arch} was interrupted")
    flags = "".join(f" --{name} {value}" for name, value in changes.items())
    scored = corinth.load_run(run.path).evaluate(corinth.open_data("fashion_mnist"))
    return {
        "arch": arch,
        "command": f"corinth train --data fashion_mnist --model {arch} --epochs {epochs} --seed {seed}{flags}",
        "test_top1": round(scored.top1, 4),
        "expected": expected,
        "best_epoch": run.best["epoch"] if run.best else None,
        "minutes": round(run.metrics[-1]["seconds"] / 60, 1),
        "machine": machine(),
        "curve": [{key: row[key] for key in ("epoch", "train_loss", "val_loss", "val_top1")} for row in run.metrics],
    }


def draw(results: list[dict], path: Path) -> None:
    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for result in results:
        curve = result["curve"]
        label = f"{result['arch']}: test {result['test_top1']:.2%}"
        axes.plot([r["epoch"] for r in curve], [100 * r["val_top1"] for r in curve], label=label)
    axes.set(xlabel="epoch", ylabel="validation top-1, %", ylim=(80, 96), title="Fashion-MNIST")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=sorted(RUNS), default=list(RUNS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: as many as torch takes")
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    store = RESULTS / "fashion_mnist.json"
    results = {r["arch"]: r for r in json.loads(store.read_text())} if store.exists() else {}
    for arch in args.models:
        results[arch] = train_and_score(arch, args.seed, args.threads)
        print({key: value for key, value in results[arch].items() if key != "curve"}, flush=True)
        kept = [results[name] for name in RUNS if name in results]
        store.write_text(json.dumps(kept, indent=1) + "\n")
        draw(kept, RESULTS / "fashion_mnist.svg")
    missed = [arch for arch in args.models if results[arch]["test_top1"] < RUNS[arch][2]]
    if missed:
        sys.exit(f"below the expected accuracy: {', '.join(missed)}")


if __name__ == "__main__":
    main()
