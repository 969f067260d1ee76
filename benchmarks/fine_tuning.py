"""Fine-tuning on few images against training from scratch: five kinds of flowers at 32 pixels, ResNet-20.

    CORINTH_DATA=FOLDER python benchmarks/fine_tuning.py [--seeds 0 1 2] [--only "fine-tuned" ...]

The folder has the flowers, flowers5_128, and weights of CIFAR-10, weights/resnet_cifar10/resnet20-12fca82f.th. Of each
class the first 50 images by name are to train, the next 20 to validate, the next 100 to test. Each row is a `corinth
train` and a `corinth evaluate` with one thread; the results name the command and are merged into
benchmarks/results/fine_tuning.json.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import corinth
from common import machine, real_data, trained

ARCH, WEIGHTS = "resnet20_cifar10", "resnet20-12fca82f.th"
PARTS = {"train": 50, "val": 20, "test": 100}
TUNED: dict[str, Any] = {"finetune": True}
RUNS: dict[str, tuple[dict[str, Any], str]] = {  # fields, and the flags that say the same
    "fine-tuned": (TUNED, f"--weights {WEIGHTS} --finetune"),
    "fine-tuned, one rate for all": ({**TUNED, "layer_decay": 1.0}, f"--weights {WEIGHTS} --finetune --layer-decay 1"),
    "fine-tuned, the head alone": ({**TUNED, "freeze": "stages"}, f"--weights {WEIGHTS} --finetune --freeze stages"),
    "from scratch, with the steps of fine-tuning": (
        {"budget": "15ep", "batch_size": 16, "lr": 0.05},
        "--epochs 15 --batch-size 16 --lr 0.05",
    ),
    "from scratch": ({"budget": "15ep"}, "--epochs 15"),
}
RESULTS = Path(__file__).parent / "results" / "fine_tuning.json"


def few_flowers(source: Path, folder: Path) -> Path:
    """train/, val/ and test/ with the classes in each, as links."""
    for kind in sorted(path for path in source.iterdir() if path.is_dir()):
        files = iter(sorted(kind.iterdir()))
        for part, count in PARTS.items():
            target = folder / part / kind.name
            target.mkdir(parents=True)
            for _ in range(count):
                file = next(files)
                (target / file.name).symlink_to(file)
    return folder


def top1(data: Path, fields: dict[str, Any], seed: int, output: Path) -> float:
    """Of the test part, which is looked at once."""
    run = trained(arch=ARCH, data=str(data), seed=seed, threads=1, output=str(output), **fields)
    return round(corinth.load_run(run.path).evaluate(corinth.open_data(data)).top1, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    args = parser.parse_args()
    weights = real_data("weights") / "resnet_cifar10" / WEIGHTS
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        data = few_flowers(real_data("flowers5_128"), Path(folder, "flowers"))
        for name in args.only:
            fields, flags = RUNS[name]
            own = {**fields, "weights": str(weights)} if "finetune" in fields else fields
            scores = {str(seed): top1(data, own, seed, Path(folder, f"{name}-{seed}")) for seed in args.seeds}
            results[name] = {
                "command": f"corinth train --data flowers --model {ARCH} --threads 1 --seed N {flags}",
                "test_top1": scores,
                "mean": round(statistics.mean(scores.values()), 4),
                "machine": machine(),
            }
            print(f"{name}: {', '.join(f'{score:.1%}' for score in scores.values())}", flush=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
