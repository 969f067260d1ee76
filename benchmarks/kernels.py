"""What the kernels for CPUs are worth: networks with them and by torch's operators alone.

    python benchmarks/kernels.py [--models mixnet_s ...] [--batch 32] [--precision fp32 bf16] [--threads 2]

A training step (forward, cross-entropy, backward) and inference, in turns in one process on the same weights and images
and with freed memory kept for both. Written to benchmarks/results/kernels.json.
"""

import argparse
import copy
import gc
import itertools
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

import corinth
from common import inference, machine, side_by_side, training
from corinth.layers import native
from corinth.layers.compiler import uncompiled
from corinth.registry import configure

MODELS = (
    *("mixnet_s", "mixnet_l", "efficientnet_b0", "mobilenetv1_100", "mobilenetv2_100", "mobilenetv3_large_100"),
    *("densenet121", "googlenet_bn", "inception_v3", "resnet18", "resnet50", "resnet20_cifar10"),
)
RESULTS = Path(__file__).parent / "results" / "kernels.json"


def bench(name: str, batch: int, precision: str, train: bool) -> dict[str, list[float]]:
    """Milliseconds, median and quartiles, with kernels and without; results compared first."""
    torch.manual_seed(0)
    still = {option: 0.0 for option in ("drop_rate", "drop_path_rate") if hasattr(configure(name), option)}
    model = corinth.create_model(name, **still).to(memory_format=torch.channels_last).train(train)
    if hasattr(model, "aux"):
        model.aux = None  # its head is no part of the comparison
    x = torch.randn(batch, *corinth.card(name).input_size).contiguous(memory_format=torch.channels_last)
    low = precision == "bf16"

    def form(call: Callable[[], Tensor], kernels: bool) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with nullcontext() if kernels else uncompiled(), torch.autocast("cpu", torch.bfloat16, enabled=low):
                return call()

        return run

    make = training if train else inference
    forms = {label: form(make(copy.deepcopy(model), x), label == "kernels") for label in ("kernels", "torch")}
    ours, theirs = (call().float() for call in forms.values())
    worst = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    if worst > (0.1 if low else 1e-4):
        sys.exit(f"{name}: results differ by {worst:.1e} of the largest; nothing was timed")
    found = side_by_side(forms, rounds=5, warmup=1)
    return {label: [round(1e3 * t, 2) for t in (time.median, time.low, time.high)] for label, time in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(machine(), "| kernels", native.described())
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, precision, train in itertools.product(args.models, args.precision, (True, False)):
        key = f"{name}, {'training step' if train else 'inference'}, batch {args.batch}, {precision}"
        ms = bench(name, args.batch, precision, train)
        rows[key] = {"ms": ms, "machine": machine()}
        print(key, ms, f"torch / kernels {ms['torch'][0] / ms['kernels'][0]:.2f}", flush=True)
        RESULTS.write_text(json.dumps({key: rows[key] for key in sorted(rows)}, indent=1) + "\n")
        gc.collect()


if __name__ == "__main__":
    main()
