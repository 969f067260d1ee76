"""MixNet++ against MixNet-S and EfficientNet-B0 on three data sets with five seeds, scaled down.

    CORINTH_DATA=FOLDER python benchmarks/mixnetpp_study.py [--jobs 2] [--data fashion_mnist ...] [--output FOLDER]
    CORINTH_DATA=FOLDER python benchmarks/mixnetpp_study.py --tried [--jobs 2]

One `corinth.compare` a data set: all networks at half their width, by one and the same recipe, on images of 32 or 64
pixels. The recipe starts the residual blocks of all of them as the identity, which helps the older ones most. An
interrupted study goes on where it stopped when the same command is given again. `--tried` trains instead what the
networks of the library can still tell of the way to the design: validation accuracy on cifar10_subset, one seed that
the study does not use. Results are merged into benchmarks/results/mixnetpp_study.json.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

import corinth
from common import machine, trained
from corinth.inspect import count_macs, count_params

MODELS = ("mixnetpp_s", "mixnet_s", "efficientnet_b0")
WIDTH = 0.5
SEEDS = (0, 1, 2, 3, 4)
RECIPE: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 3e-3,
    "weight_decay": 0.05,
    "schedule": "onecycle",
    "batch_size": 64,
    "clip_norm": 1.0,
    "label_smoothing": 0.1,
    "precision": "bf16",
    "threads": 1,
    "options": {"width": WIDTH, "drop_rate": 0.2, "drop_path_rate": 0.0, "zero_init_residual": True},
}
SETS: dict[str, dict[str, Any]] = {  # the budget, and what of the recipe depends on the images; the longest first
    "flowers5_128": {
        "budget": "18ep",
        "img_size": 64,
        "evaluate_every": "3ep",
        "augmentation": {"random_resized_crop": (0.4, 1.0), "flip": True, "color_jitter": 0.2, "crop_padding": 0.0},
    },
    "cifar10_subset": {
        "budget": "12ep",
        "img_size": 32,
        "evaluate_every": "3ep",
        "augmentation": {"crop_padding": 0.125, "flip": True},
    },
    "fashion_mnist": {
        "budget": "48e3samples",
        "img_size": 32,
        "evaluate_every": "16e3samples",
        "augmentation": {"crop_padding": 0.0625, "flip": True},
    },
}
TRIED = {  # network and whether its residual blocks start as the identity; drafts between them are not kept
    "mixnet_s": ("mixnet_s", False),
    "mixnet_s, identity": ("mixnet_s", True),
    "efficientnet_b0, identity": ("efficientnet_b0", True),
    "mixnetpp_s, identity": ("mixnetpp_s", True),
    "mixnetpp_s": ("mixnetpp_s", False),
}
TRIED_SEED, TRIED_EPOCHS = 5, 20
RESULTS = Path(__file__).parent / "results" / "mixnetpp_study.json"


def study(name: str, output: Path) -> dict[str, Any]:
    """One comparison, as values."""
    torch.set_num_threads(1)
    fields = dict(SETS[name])
    budget = fields.pop("budget")
    board = corinth.compare(
        name, MODELS, budget=budget, seeds=SEEDS, overrides={**RECIPE, **fields}, output=output / name, report=False
    )
    values = board.to_dict()
    del values["data"]["notes"]  # they name files of this machine
    return {"machine": machine(), "recipe": {**RECIPE, **fields}, "board": values}


def try_once(label: str, epochs: int, output: Path) -> dict[str, Any]:
    """One training on 4,000 images; the best accuracy on the 1,000 to validate. The test part is not looked at."""
    name, identity = TRIED[label]
    fields = {key: value for key, value in SETS["cifar10_subset"].items() if key != "budget"}
    options = {**RECIPE["options"], "zero_init_residual": identity}
    run = trained(
        arch=name,
        data=corinth.open_data("cifar10_subset", val_share=0.2),
        budget=f"{epochs}ep",
        seed=TRIED_SEED,
        output=str(output / label.replace(", ", "-")),
        **{**RECIPE, **fields, "options": options},
    )
    best = max(row["val_top1"] for row in run.metrics)
    return {"val_top1": round(best, 4), "seed": TRIED_SEED, "epochs": epochs, "machine": machine()}


def costs() -> dict[str, dict[str, int]]:
    """Multiply-adds and parameters as registered and as the study scales them."""
    found = {}
    for name in MODELS:
        with torch.device("meta"):
            full = corinth.create_model(name)
            half = corinth.create_model(name, width=WIDTH, num_classes=10)
        found[name] = {"224 pixels": count_macs(full, (3, 224, 224)), "parameters": count_params(full)}
        found[name] |= {f"{side} pixels, half width": count_macs(half, (3, side, side)) for side in (32, 64)}
        found[name]["parameters, half width"] = count_params(half)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--jobs", type=int, default=2, help="comparisons at a time, one thread each")
    parser.add_argument("--output", type=Path, default=Path("runs/mixnetpp_study"))
    parser.add_argument("--tried", action="store_true", help="what was tried on the way, in place of the study")
    parser.add_argument("--epochs", type=int, default=TRIED_EPOCHS, help="of --tried")
    args = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if args.tried:
        with ProcessPoolExecutor(args.jobs) as pool:
            tries = {pool.submit(try_once, label, args.epochs, args.output / "tried"): label for label in TRIED}
            for done in as_completed(tries):
                found = results.setdefault("tried", {})[tries[done]] = done.result()
                print(f"{tries[done]}: {found['val_top1']:.1%} of the validation images", flush=True)
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        return
    results["costs"] = costs()
    with ProcessPoolExecutor(args.jobs) as pool:
        runs = {pool.submit(study, name, args.output): name for name in args.data}
        for done in as_completed(runs):
            found = done.result()
            if found["board"]["interrupted"]:
                print(f"{runs[done]}: interrupted; the same command goes on", flush=True)
                continue
            results[runs[done]] = found
            print(f"{runs[done]}: {found['board']['headline']}", flush=True)
            for row in found["board"]["rows"]:
                gap = row["to_leader"]
                behind = (
                    f", {100 * gap['mean']:+.1f} [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]" if gap else ""
                )
                print(f"  {row['label']:16} {row['score_test']:.4f}{behind}, {row['fit_time']:.0f} s", flush=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
