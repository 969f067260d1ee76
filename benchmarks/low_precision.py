"""Whether the optimised forms of a trained network still say what it says: labels in fp32 and bf16, and accuracy.

    CORINTH_DATA=... python benchmarks/low_precision.py [--batch 100] [--seconds 0.5] [--runtimes]

ResNet-20 with public weights of CIFAR-10 (weights/resnet_cifar10 in $CORINTH_DATA), with the preprocessing that belongs
to them, on the 1,000 test images of `cifar10_subset`. `corinth.optimize` in fp32 and bf16 by torch alone, with
`--runtimes` also where OpenVINO is there to choose; the form that it chose stands beside the numbers. They are merged
into benchmarks/results/low_precision.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import corinth
from common import import_peers, import_runtimes, inference, machine, real_data
from corinth.data import Loader, make_store
from corinth.data.images import ImageData
from corinth.inference.forms import Precision
from corinth.predictor import Classifier

ARCH = "resnet20_cifar10"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
RESULTS = Path(__file__).parent / "results" / "low_precision.json"


def compared(logits: Tensor, expected: Tensor, labels: Tensor) -> dict[str, Any]:
    """Accuracy, and how far the answers (N, K) are from those of the network as it is."""
    said = logits.argmax(1)
    changed = said != expected.argmax(1)
    return {
        "accuracy": round((said == labels).float().mean().item(), 4),
        "equal_labels": round(1 - changed.float().mean().item(), 4),
        "labels_changed": int(changed.sum()),
        "difference": float(f"{((logits - expected).abs().max() / expected.abs().max()).item():.2g}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each step that optimize measures")
    parser.add_argument("--runtimes", action="store_true", help="with OpenVINO; `make runtimes` installs it")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    weights, images = real_data("weights/resnet_cifar10"), real_data("cifar10_subset/test")
    if args.runtimes:
        import_peers()
        import_runtimes()
    predictor = Classifier.from_weights(ARCH, weights, device="cpu")
    data = corinth.open_data(images, classes=predictor.classes)
    assert isinstance(data, ImageData)
    store = make_store(data, "all", predictor.preprocess)
    whole = next(iter(Loader(store, len(store))))

    def answers(model: Any) -> Tensor:
        return torch.cat([inference(model, inputs)() for inputs in whole.inputs.split(args.batch)])

    expected = answers(predictor.model)
    rows: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    rows["as it is, fp32"] = compared(expected, expected, whole.targets)
    for precision in PRECISIONS:
        example = whole.inputs[: args.batch]
        fast = corinth.optimize(
            predictor.model, example, precision=precision, seconds=args.seconds, runtimes=args.runtimes
        )
        name = f"optimised{', OpenVINO to choose from' if args.runtimes else ''}, {precision}"
        found = compared(answers(fast), expected, whole.targets)
        rows[name] = {"form": fast.report.form, **found, "batch": args.batch, "machine": machine()}
    for name, row in rows.items():
        print(f"{name:42} {row['accuracy']:.1%}, equal {row['equal_labels']:.1%}  {row.get('form', '')}")
    RESULTS.write_text(json.dumps({"images": len(store), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
