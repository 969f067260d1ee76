"""Peak memory and time of DenseNet's training step, plain and memory-efficient, against torchvision's two forms.

    python benchmarks/densenet_memory.py [--models densenet121 densenet201] [--batch 8] [--size 224] [--device cuda]

"Tensors" is the peak of what torch had allocated within a step, gradients included, over what it held before; on CUDA
the allocator's own count, elsewhere the profiler's. "Resident" is how far the process grew in its first step, on a CPU
only: what the allocator of the C library makes of it. Each form runs in a process of its own, as memory that an
allocator keeps would hide what the next one needs. The time is the median of the further steps. Every form starts from
the same weights and must reach the same loss. Results are merged into benchmarks/results/densenet_memory.json.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

import corinth
from common import PEERS, import_peers, machine
from corinth.inspect import peak_memory

FORMS = ("plain", "memory_efficient", "torchvision", "torchvision, memory_efficient")
RESULTS = Path(__file__).parent / "results" / "densenet_memory.json"


def build(name: str, form: str) -> torch.nn.Module:
    """The same weights in each form."""
    torch.manual_seed(0)
    ours = corinth.create_model(name, memory_efficient=form == "memory_efficient")
    if not form.startswith("torchvision"):
        return ours
    import_peers()
    import torchvision

    peer = getattr(torchvision.models, name)(memory_efficient=form.endswith("memory_efficient"))
    peer.load_state_dict(corinth.dump_weights(ours, source="torchvision"))
    return peer


def measure(name: str, form: str, args: argparse.Namespace) -> dict[str, float]:
    """Peaks in MiB, the loss of the first step, the median seconds of `args.steps` further steps."""
    torch.set_num_threads(args.threads)
    model = build(name, form).train().to(args.device, memory_format=torch.channels_last)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(args.batch, 3, args.size, args.size, generator=draw).to(args.device)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(args.batch, device=args.device)

    def step() -> float:
        model.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        return loss.item()  # waits for the device

    with peak_memory() as resident:
        loss = step()
    model.zero_grad(set_to_none=True)
    if args.device.startswith("cuda"):
        with peak_memory(args.device) as peak:
            step()
        tensors = peak.bytes
    else:
        tensors = peak_of_tensors(step)
    seconds = []
    for _ in range(args.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {
        "tensors": (tensors or 0) / 2**20,
        "resident": (resident.bytes or 0) / 2**20,
        "loss": loss,
        "seconds": statistics.median(seconds),
    }


def peak_of_tensors(step: Callable[[], object]) -> int:
    """The highest sum of what torch allocates and frees on the CPU within a step, in bytes."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = (e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))
    return max(itertools.accumulate(changes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["densenet121", "densenet201"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=5, help="steps whose time is taken")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs=2, metavar=("MODEL", "FORM"), help="one measurement, as JSON")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(*args.only, args)))
        return
    torch.set_num_threads(args.threads)
    where = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else machine()
    print(f"{where}; batch {args.batch}, {args.size} pixels, median of {args.steps} steps\n")
    print("| network | form | tensors | of plain | resident | step | of plain |\n|---|---|---|---|---|---|---|")
    forms = FORMS if PEERS.is_dir() else FORMS[:2]
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in args.models:
        rows = {form: one(name, form) for form in forms}
        plain = rows["plain"]
        for form, row in rows.items():
            if abs(row["loss"] - plain["loss"]) > 1e-4:
                sys.exit(f"{name}: the loss of {form} is {row['loss']}, that of plain {plain['loss']}")
            memory, slower = row["tensors"] / plain["tensors"], row["seconds"] / plain["seconds"]
            peaks = f"{row['tensors']:.0f} MiB | {memory:.2f} | {row['resident']:.0f} MiB"
            print(f"| `{name}` | {form} | {peaks} | {row['seconds'] * 1e3:.0f} ms | {slower:.2f} |", flush=True)
        settings = {"machine": where, "steps": args.steps, "threads": args.threads}
        rounded = {form: {key: round(value, 4) for key, value in row.items()} for form, row in rows.items()}
        key = f"{name}, batch {args.batch}, {args.size} pixels, {args.device}"
        results[key] = {**settings, "forms": rounded}  # MiB, seconds
        RESULTS.write_text(json.dumps({key: results[key] for key in sorted(results)}, indent=1) + "\n")


def one(name: str, form: str) -> dict[str, float]:
    """`measure` in a process of its own, with the options of this one."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", name, form]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    main()
