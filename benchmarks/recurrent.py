"""Recurrent cells on Corinth's engine against torch's fused LSTM of the same size, and against a loop in Python.

    python benchmarks/recurrent.py [--rounds 15] [--threads 2]

Times are ratios to `nn.LSTM` in the same process, median and quartiles over the rounds' own ratios: above 1 the fused
kernel is faster. The engine first runs a plain LSTM's step, whose outputs are compared with `nn.LSTM`'s before anything
is timed. "loop" is the peephole LSTM as a module for a single step, called from Python, with autograd through it all.
The results go to benchmarks/results/recurrent.json.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import corinth
from common import machine
from corinth.inspect.memory import freed_memory_kept
from corinth.layers.recurrence import recur
from corinth.models.recurrent.lstm import lstm_step

RESULTS = Path(__file__).parent / "results" / "recurrent.json"
SIZES = {  # batch, steps, inputs, hidden units
    "large": (64, 128, 128, 256),
    "small": (32, 100, 64, 128),
    "one": (1, 100, 64, 128),
}
BARS = {("large", "train"): 1.2, ("small", "train"): 1.7, ("large", "forward"): 1.6, ("small", "forward"): 1.6}
BARS[("one", "forward")] = 3.0
NETWORKS = ("lstm_peephole", "lstm_layernorm")


class Loop(nn.Module):
    """What one writes first: a cell for one step, with its own products, in a loop."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.x, self.u = nn.Linear(inputs, 4 * hidden), nn.Linear(hidden, 4 * hidden)
        self.p_i, self.p_f, self.p_o = (nn.Parameter(torch.zeros(hidden)) for _ in range(3))

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = (self.x(x) + self.u(h)).chunk(4, dim=1)
        i, f = torch.sigmoid(i + self.p_i * c), torch.sigmoid(f + self.p_f * c)
        c = f * c + i * torch.tanh(g)
        return torch.sigmoid(o + self.p_o * c) * torch.tanh(c), c

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), self.hidden)
        outputs = []
        for t in range(x.shape[1]):
            h, c = self.step(x[:, t], h, c)
            outputs.append(h)
        return torch.stack(outputs, dim=1)


def compare_outputs(fused: nn.LSTM, x: Tensor) -> None:
    """The engine with the plain LSTM's step and the fused weights: equal outputs, or nothing is timed."""
    own = dict(fused.named_parameters())
    products = nn.functional.linear(x.transpose(0, 1), own["weight_ih_l0"], own["bias_ih_l0"] + own["bias_hh_l0"])
    zeros = x.new_zeros(len(x), fused.hidden_size)
    with torch.no_grad():
        found = recur(lstm_step, products.detach(), own["weight_hh_l0"], (zeros, zeros))[0].transpose(0, 1)
        worst = (found - fused(x)[0]).abs().max().item()
    if worst > 1e-5:
        sys.exit(f"the engine's outputs differ by {worst:.1e} from nn.LSTM's; nothing was timed")


def bench(size: str, rounds: int, loop_rounds: int) -> list[dict[str, Any]]:
    batch, steps, inputs, hidden = SIZES[size]
    torch.manual_seed(0)
    x = torch.randn(batch, steps, inputs)
    fused = nn.LSTM(inputs, hidden, batch_first=True)
    compare_outputs(fused, x)
    models: dict[str, Callable[[Tensor], Tensor]] = {"nn.LSTM": lambda x: fused(x)[0]}
    for name in NETWORKS:
        model = corinth.create_model(name, input_size=inputs, hidden_size=hidden, num_classes=0)
        models[name] = lambda x, model=model: model.forward_features(x)[0]
    models["loop"] = Loop(inputs, hidden)

    def train(run: Callable[[Tensor], Tensor]) -> None:
        run(x.requires_grad_()).sum().backward()

    def forward(run: Callable[[Tensor], Tensor]) -> None:
        with torch.no_grad():
            run(x)

    rows = []
    for what, call in (("train", train), ("forward", forward)):
        if (size, what) not in BARS:
            continue
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for run in models.values():
            call(run), call(run)
        for turn in range(rounds):
            for name, run in models.items():
                if name == "loop" and turn >= loop_rounds:
                    continue
                start = time.perf_counter()
                call(run)
                seconds[name].append(time.perf_counter() - start)
        for name in models:
            ratios = [a / b for a, b in zip(seconds[name], seconds["nn.LSTM"])]
            low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
            row = {
                "size": size,
                "what": what,
                "cell": name,
                "ms": round(1e3 * statistics.median(seconds[name]), 3),
                "ratio": [round(value, 3) for value in (median, low, high)],
                "rounds": len(ratios),
                "machine": machine(),
            }
            bar = BARS[size, what]
            said = (
                "" if name in ("nn.LSTM", "loop") else f"  bar {bar}: {'holds' if median <= bar else 'DOES NOT HOLD'}"
            )
            print(
                f"{size:6} {what:8} {name:15} {row['ms']:9.2f} ms  {median:6.2f} [{low:.2f}, {high:.2f}]{said}",
                flush=True,
            )
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--loop-rounds", type=int, default=5, help="the loop is many times slower")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with freed_memory_kept():
        rows = [row for size in args.sizes for row in bench(size, args.rounds, args.loop_rounds)]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
