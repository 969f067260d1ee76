"""Five kinds of flowers from fresh weights: photographs with noisy labels, by one regularised recipe.

    CORINTH_DATA=... python benchmarks/flowers.py [--models mixnetpp_s mixnet_s] [--seeds 0] [--epochs 50]
                                                  [--img-size 96] [--threads 1] [--precision bf16] [--again]

`flowers5_128` in $CORINTH_DATA, split by Corinth (split seed 0). All networks have one recipe, that of `mixnetpp_s`
with more against overfitting; stochastic depth and residual blocks that start as the identity are for those that have
them. The checkpoint is chosen on the validation part and scored on the test part once. Each run is merged into
benchmarks/results/flowers.json when it is done, and not trained again without `--again`.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

import corinth
from common import machine, real_data, trained
from corinth.predictor import Evaluation
from corinth.registry import configure

RESULTS = Path(__file__).parent / "results" / "flowers.json"
OPTIONS = {"drop_path_rate": 0.1, "zero_init_residual": True}
RECIPE: dict[str, Any] = {
    **corinth.card("mixnetpp_s").recipe,
    "ema": 0.998,
    "evaluate_every": "2ep",
    "augmentation": {
        "random_resized_crop": (0.25, 1.0),
        "flip": True,
        "color_jitter": 0.3,
        "mixup": 0.2,
        "erasing": 0.2,
    },
}


def train_and_score(arch: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One row: top-1 of the validation and the test part."""
    data = corinth.open_data(real_data("flowers5_128"))
    options = {name: value for name, value in OPTIONS.items() if hasattr(configure(arch), name)}
    recipe = {**RECIPE, "options": options, "precision": args.precision}
    recipe |= {"budget": f"{args.epochs}ep", "img_size": args.img_size, "threads": args.threads}
    with tempfile.TemporaryDirectory() as folder:
        run = trained(arch=arch, data=data, seed=seed, output=f"{folder}/run", **recipe)
        predictor = corinth.load_run(run.path)
        found = {part: predictor.evaluate(data, part) for part in ("val", "test")}
    row = {"arch": arch, "seed": seed, "epochs": args.epochs, "img_size": args.img_size}
    for part, evaluation in found.items():
        assert isinstance(evaluation, Evaluation)
        row |= {f"{part}_top1": round(evaluation.top1, 4), f"{part}_images": evaluation.samples}
    return {
        **row,
        "train_images": len(data.splits["train"]),
        "best_epoch": run.best["epoch"] if run.best else None,
        "minutes": round(run.metrics[-1]["seconds"] / 60, 1),
        "recipe": recipe,
        "machine": machine(),
        "curve": [{key: line[key] for key in ("epoch", "train_loss", "val_top1")} for line in run.metrics],
    }


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["arch"], row["epochs"], row["img_size"], row["seed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    networks = corinth.list_models(task="image-classification")
    parser.add_argument("--models", nargs="+", choices=networks, default=["mixnetpp_s", "mixnet_s"], metavar="MODEL")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--img-size", type=int, default=96)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), default="bf16", help="fp32 where a CPU has no AVX512-BF16"
    )
    parser.add_argument("--again", action="store_true", help="train what is in the results already")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = {key_of(row): row for row in json.loads(args.output.read_text())} if args.output.exists() else {}
    for arch in args.models:
        for seed in args.seeds:
            key = (arch, args.epochs, args.img_size, seed)
            if key not in rows or args.again:
                rows[key] = train_and_score(arch, seed, args)
                args.output.write_text(json.dumps([rows[key] for key in sorted(rows)], indent=1) + "\n")
            row = rows[key]
            said = f"validation {row['val_top1']:.1%}, test {row['test_top1']:.1%}, {row['minutes']} min"
            print(f"{arch} seed {seed}: {said}", flush=True)
        scores = [rows[arch, args.epochs, args.img_size, seed]["test_top1"] for seed in args.seeds]
        print(
            f"{arch}: test {statistics.mean(scores):.1%} ({min(scores):.1%} to {max(scores):.1%}, {len(scores)} seeds)"
        )


if __name__ == "__main__":
    main()
