"""Training throughput: `corinth.training` against a plain PyTorch loop written by hand.

Both train the same architecture from the same weights on the same uint8 tensors in the same order, in one process,
taking turns, so that whatever else the machine does falls on both. The hand-written loop is what a careful person
writes: whole batches gathered by index, normalised, no accuracy, no scheduler, losses read once an epoch. Ours is the
real thing: schedule, training accuracy, display callbacks, clock; evaluation and checkpoints are left out of
both. The weights after the first turn are compared. On a machine that others use too, the ratio of CPU time is the
one to look at.

    python benchmarks/training_loop.py --threads 1 --turns 15
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import machine
from corinth import create_model
from corinth.data import Augmentation, Loader, MemoryStore, Preprocess, TrainTransform
from corinth.tasks import ImageClassification
from corinth.training.budget import parse_budget
from corinth.training.interrupts import Stop
from corinth.training.loop import Loop
from corinth.training.pace import Pace
from corinth.training.processes import Processes
from corinth.training.progress import SilentReporter
from corinth.training.recipe import Recipe

BATCH = 128
# architecture -> input (C, H, W), batches a turn on a CPU and on a GPU, the least ratio that is asked of us
CASES = {"resnet20_cifar10": ((3, 32, 32), 6, 100, 0.97), "lenet5": ((1, 32, 32), 60, 400, 0.90)}
LR = 0.01


def plain_turn(model: nn.Module, images: Tensor, labels: Tensor, order: Tensor, preprocess: Preprocess) -> None:
    """One epoch, written by hand."""
    device = images.device
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=device.type in ("cpu", "cuda")
    )
    mean = torch.tensor(preprocess.mean, device=device)[:, None, None] * 255
    std = torch.tensor(preprocess.std, device=device)[:, None, None] * 255
    model.train()
    total = torch.zeros((), device=device)
    for rows in order.to(device).split(BATCH):
        inputs = (images[rows].float() - mean) / std
        loss = F.cross_entropy(model(inputs), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    if not torch.isfinite(total):
        raise SystemExit("the plain loop diverged")


def our_turn(model: nn.Module, loader: Loader, arch: str) -> None:
    """One epoch of the loop, without validation and without writing."""
    recipe = Recipe(
        arch=arch, data="random", lr=LR, budget="1ep", schedule="constant", decay_norm_and_bias=True, save_every=1e9
    )
    pace = Pace(
        samples_planned=loader.samples_per_epoch,
        seconds_planned=None,
        evaluate_every=parse_budget("1ep"),
        save_every=recipe.save_every,
        samples_per_epoch=loader.samples_per_epoch,
        batch_size=BATCH,
        val_samples=0,
        clock=time.perf_counter,
    )
    Loop(
        ImageClassification(model, [str(k) for k in range(10)]),
        loader,
        None,
        recipe,
        processes=Processes(str(loader.device)),
        pace=pace,
        reporter=SilentReporter(),
        stop=Stop(),
        keep=lambda row, best: None,
        write=lambda tensors, values: None,
    ).run()


def measure(arch: str, device: torch.device, turns: int) -> dict[str, Any]:
    size, on_cpu, on_gpu, _ = CASES[arch]
    batches = on_cpu if device.type == "cpu" else on_gpu
    torch.manual_seed(0)
    n = batches * BATCH
    images = torch.randint(0, 256, (n, *size), dtype=torch.uint8)
    labels = torch.randint(0, 10, (n,))
    preprocess = Preprocess(size=size[1:], channels=size[0], mean=(0.5,) * size[0], std=(0.25,) * size[0])
    models = [create_model(arch, num_classes=10, in_chans=size[0]) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    plain, ours = (m.to(device).to(memory_format=torch.channels_last) for m in models)  # ty: ignore[no-matching-overload]
    store = MemoryStore(images, labels, torch.arange(n), preprocess).to(device)
    transform = TrainTransform(preprocess, Augmentation(), 10)
    loader = Loader(store, BATCH, device=device, transform=transform, shuffle=True)
    device_images, device_labels = images.to(device), labels.to(device)

    def timed(which: str) -> tuple[float, float]:
        _wait(device)
        began, cpu_began = time.perf_counter(), time.process_time()
        if which == "ours":
            our_turn(ours, loader, arch)
        else:
            plain_turn(plain, device_images, device_labels, loader.order(loader.epoch), preprocess)
        _wait(device)
        return time.perf_counter() - began, time.process_time() - cpu_began

    order = loader.order(0)
    plain_turn(plain, device_images, device_labels, order, preprocess)
    our_turn(ours, loader, arch)
    with torch.no_grad():
        a, b = (torch.cat([p.reshape(-1) for p in model.parameters()]) for model in (plain, ours))
        drift = float((a - b).norm() / a.norm())
    if drift > 1e-4:
        raise SystemExit(f"{arch}: after one turn the weights differ by {drift:.1e}; nothing was timed")
    wall: dict[str, list[float]] = {"plain": [], "ours": []}
    cpu: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(turns):
        for which in ("plain", "ours") if turn % 2 else ("ours", "plain"):
            seconds, cpu_seconds = timed(which)
            wall[which].append(seconds)
            cpu[which].append(cpu_seconds)
    ratios = [a / b for a, b in zip(wall["plain"], wall["ours"], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "arch": arch,
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
        "n": turns,
        "steps_per_turn": batches,
        "plain_ms_per_step": round(1e3 * statistics.median(wall["plain"]) / batches, 3),
        "ours_ms_per_step": round(1e3 * statistics.median(wall["ours"]) / batches, 3),
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_quartiles": [round(low, 4), round(high, 4)],
        "ratio_of_cpu_time": round(statistics.median(cpu["plain"]) / statistics.median(cpu["ours"]), 4),
        "asked": CASES[arch][-1],
        "weight_difference": float(f"{drift:.2g}"),
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=sorted(CASES), action="append", help="default: all")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also write the results here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    about = f"{machine()}, load {os.getloadavg()[0]:.1f}"
    print(f"{about}; batch {BATCH}; medians over turns, quartiles of the ratio")
    results = [measure(arch, torch.device(args.device), args.turns) for arch in args.arch or CASES]
    for r in results:
        print(
            f"{r['arch']:18} {r['device']} ({r['threads']} threads, n={r['n']} turns of {r['steps_per_turn']} steps)  "
            f"plain {r['plain_ms_per_step']:.2f} ms/step  ours {r['ours_ms_per_step']:.2f} ms/step  "
            f"ratio {r['ratio_median']:.3f} [{r['ratio_quartiles'][0]:.3f}, {r['ratio_quartiles'][1]:.3f}], "
            f"of CPU time {r['ratio_of_cpu_time']:.3f}, asked {r['asked']}; "
            f"weights differ by {r['weight_difference']:.1e}"
        )
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
