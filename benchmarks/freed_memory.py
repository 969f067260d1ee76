"""What keeping freed memory is worth on a CPU: training steps of ours and of timm's, inference of an optimised form.

    python benchmarks/freed_memory.py [--cases "training step" ...] [--batch 32] [--rounds 5] [--threads 2]

Each is measured as the C library comes and with freed memory kept (`corinth.inspect.memory`), every time in a process
of its own, as what an allocator has learnt stays with it. Medians and ranges of the rounds after one that is not
counted; "resident" is how far the process grew meanwhile. Results are merged into
benchmarks/results/freed_memory.json. The machine must have nothing else to do: clearing pages is what others slow down.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

import corinth
from common import PEERS, import_peers, inference, machine, training
from corinth.inspect.memory import freed_memory_kept, peak_memory

STEP, OPTIMISED = "efficientnet_b0", "mobilenetv3_large_100"
CASES = {"training step": STEP, "training step of timm": STEP, "optimised inference": OPTIMISED}
RESULTS = Path(__file__).parent / "results" / "freed_memory.json"


def call_of(case: str, x: Tensor) -> Callable[[], Tensor]:
    torch.manual_seed(0)
    if case == "optimised inference":
        model = corinth.create_model(OPTIMISED).eval()
        return inference(corinth.optimize(model, x, compile=False, runtimes=False, keep_memory=False, seconds=1.0), x)
    if case == "training step of timm":
        import_peers()
        import timm

        network = timm.create_model(STEP)
    else:
        network = corinth.create_model(STEP)
    return training(network.train().to(memory_format=torch.channels_last), x)


def measure(case: str, kept: bool, args: argparse.Namespace) -> dict[str, float | int]:
    """Seconds of a call, median and range; MiB of resident memory."""
    torch.set_num_threads(args.threads)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(args.batch, 3, 224, 224, generator=draw).contiguous(memory_format=torch.channels_last)
    call = call_of(case, x)
    with freed_memory_kept() if kept else nullcontext(True) as can:
        if not can:
            sys.exit("this C library cannot be told to keep freed memory; GNU's can")
        with peak_memory() as resident:
            call()
            seconds = []
            for _ in range(args.rounds):
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
    return {
        "seconds": round(statistics.median(seconds), 4),
        "least": round(min(seconds), 4),
        "most": round(max(seconds), 4),
        "resident_mib": round((resident.bytes or 0) / 2**20),
        "n": len(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs=2, metavar=("CASE", "kept|given back"), help="one measurement, as JSON")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only[0], args.only[1] == "kept", args)))
        return
    torch.set_num_threads(args.threads)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for case in args.cases:
        if case.endswith("timm") and not PEERS.is_dir():
            continue
        found = {how: one(case, how) for how in ("given back", "kept")}
        results[case] = {"network": CASES[case], "batch": args.batch, "machine": machine(), **found}
        for how, row in found.items():
            spread = f"{row['seconds']:.3f} s [{row['least']:.3f}, {row['most']:.3f}]"
            print(f"{case:22} {how:10} {spread}, {row['resident_mib']} MiB resident", flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def one(case: str, how: str) -> dict[str, float | int]:
    """`measure` in a process of its own, with the options of this one."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", case, how]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    main()
