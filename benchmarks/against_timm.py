"""Inference and training step of Corinth's networks against timm's: same weights, same input, outputs compared first.

    python benchmarks/against_timm.py [--models mixnet_s ...] [--batch 1 8] [--train-batch 8] [--rounds 9] [--threads 2]

Eager, fp32, at the network's own image size. timm is timed in both memory layouts and its better one counts; Corinth
runs in `channels_last`, as its training and its predictions do. A training step is forward, cross-entropy and
backward. The results are merged into benchmarks/results/against_timm.json.
"""

import argparse
import copy
import json
import math
import sys
from pathlib import Path

import torch
from torch import nn

import corinth
from common import Timing, import_peers, inference, machine, side_by_side, training
from corinth.registry import configure

MODELS = (
    "mixnet_s",
    "mixnet_m",
    "mixnet_l",
    "mobilenetv1_100",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "densenet121",
    "inception_v3",
    "resnet50",
)
RESULTS = Path(__file__).parent / "results" / "against_timm.json"
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """Ours and timm's with the same weights: our own initial ones, and running statistics that are not trivial."""
    import timm

    torch.manual_seed(0)
    random = {option: 0.0 for option in ("drop_rate", "drop_path_rate") if hasattr(configure(name), option)}
    ours = corinth.create_model(name, **random)
    for key, value in ours.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    theirs = timm.create_model(name, **random)
    theirs.load_state_dict(corinth.dump_weights(ours, source="timm"))
    return ours, theirs


def bench(name: str, batch: int, rounds: int, *, train: bool) -> dict:
    """Time one network at one batch size; the ratio is timm's better layout over Corinth."""
    ours, theirs = pair(name)
    x = torch.randn(batch, *corinth.card(name).input_size, generator=torch.Generator().manual_seed(1))
    make = training if train else inference
    calls = {}
    for label, model, layouts in (("timm", theirs, tuple(LAYOUTS)), ("corinth", ours, ("channels_last",))):
        for layout in layouts:
            twin = copy.deepcopy(model).train(train).to(memory_format=LAYOUTS[layout])
            calls[f"{label}, {layout}"] = make(twin, x.contiguous(memory_format=LAYOUTS[layout]))
    answers = {label: call() for label, call in calls.items()}
    expected = answers["timm, NCHW"]
    for label, answer in answers.items():
        if (worst := ((answer - expected).abs().max() / expected.abs().max()).item()) > 1e-4:
            sys.exit(f"{name}, {label}: outputs differ by {worst:.1e} of the largest; nothing was timed")
    times: dict[str, Timing] = side_by_side(calls, rounds=rounds)
    best = min(timing.median for label, timing in times.items() if label.startswith("timm"))
    row = {
        "model": name,
        "what": f"training step, batch {batch}" if train else f"inference, batch {batch}",
        "ratio": round(best / times["corinth, channels_last"].median, 3),
        "ms": {label: [round(1e3 * value, 2) for value in (t.median, t.low, t.high)] for label, t in times.items()},
        "rounds": rounds,
        "machine": machine(),
    }
    print({key: row[key] for key in ("model", "what", "ratio", "ms")}, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--train-batch", type=int, nargs="*", default=[8])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    import_peers()
    rows = {(r["model"], r["what"]): r for r in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    ratios = []
    for name in args.models:
        for train, batches in ((False, args.batch), (True, args.train_batch)):
            for batch in batches:
                row = bench(name, batch, args.rounds, train=train)
                rows[row["model"], row["what"]] = row
                ratios.append(row["ratio"])
                RESULTS.write_text(json.dumps([rows[key] for key in sorted(rows)], indent=1) + "\n")
    print(f"geometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.3f}, lowest {min(ratios):.3f}")


if __name__ == "__main__":
    main()
