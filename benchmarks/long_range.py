"""Which recurrent cell learns what over how many steps: the field's tests of long-range memory, under an equal budget.

    CORINTH_DATA=... python benchmarks/long_range.py [--only adding ...] [--cells rnn lstm gru lstm_peephole]
                     [--seeds 3] [--longest 800] [--updates 1500] [--threads 1] [--table]

`adding`: T steps of a number in [0, 1] and a mark, which two of them have; wanted is the sum of these two (Hochreiter &
Schmidhuber 1997, in the form of Le, Jaitly & Hinton 2015, 1504.00941). Saying 1 always has a mean squared error of
1/6; below 0.01 counts as solved. `copy`: ten symbols out of eight, T - 1 blanks, a sign, and then the ten again
(Arjovsky, Shah & Bengio 2016, 1511.06464, section 5.1); without memory the best cross-entropy is 10 ln 8 / (T + 20).
`rows` and `permuted`: digits row by row, and pixel by pixel in one shuffled order (Le et al. 2015, section 4.2).
`gradients`: of a fresh network and, on `adding`, of the trained one, the norm of the loss's gradient with respect to
the first step over that with respect to the last (`corinth.inspect.gradients_by_step`).

Every cell has 64 hidden units, the same number of batches of 50 at most, and AdamW with clipped gradients; an adding
problem that is solved ends early. Each measurement goes to benchmarks/results/long_range.json when it is done and is
not done again: an interrupted study goes on. A table is printed at the end; `--table` prints that of what is there.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import corinth
from common import machine
from corinth.data import Batch, Sequences, open_data
from corinth.inspect import gradients_by_step

RESULTS = Path(__file__).parent / "results" / "long_range.json"
CELLS = ("rnn", "lstm", "gru", "lstm_peephole")
RATES = {"rnn": 1e-3}  # the better of 1e-3 and 1e-2 on adding, 50 steps, with a seed of its own; of the others 1e-2
HIDDEN, BATCH = 64, 50
SOLVED = 0.01  # mean squared error of an adding problem
SYMBOLS, COPIED = 8, 10
EPOCHS = {"digits": 30, "mnist_t10k": 5}
STEPS = {("rows", "digits"): 8, ("permuted", "digits"): 64, ("rows", "mnist_t10k"): 28}
Draw = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]  # a batch of so many: inputs and targets


def adding(steps: int) -> Draw:
    """Inputs (B, T, 2), numbers and marks; targets (B, 1)."""

    def draw(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        numbers, marks = torch.rand(count, steps, generator=rng), torch.zeros(count, steps)
        half, rows = steps // 2, torch.arange(count)
        marks[rows, torch.randint(half, (count,), generator=rng)] = 1
        marks[rows, torch.randint(half, steps, (count,), generator=rng)] = 1
        return torch.stack((numbers, marks), dim=2), (numbers * marks).sum(1, keepdim=True)

    return draw


def copying(steps: int) -> Draw:
    """Inputs and targets (B, T + 20): symbols from 0, then a blank and a sign that says now."""
    blank, sign = SYMBOLS, SYMBOLS + 1

    def draw(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        symbols = torch.randint(SYMBOLS, (count, COPIED), generator=rng)
        x = torch.full((count, steps + 2 * COPIED), blank)
        y = x.clone()
        x[:, :COPIED], y[:, -COPIED:] = symbols, symbols
        x[:, steps + COPIED - 1] = sign
        return x, y

    return draw


@cache
def images(data: str, part: str) -> tuple[Tensor, Tensor]:
    """Of a part of Corinth's split: (N, H, W) from -1 to 1, and labels."""
    found = open_data(data)
    pixels = torch.stack([torch.from_numpy(found.source.image(int(i))) for i in found.positions(part)])
    return pixels / 127.5 - 1, torch.from_numpy(found.labels(part))


def digits(data: str, part: str, permuted: bool) -> tuple[Tensor, Tensor]:
    """Sequences (N, T, C) and labels."""
    x, y = images(data, part)
    if not permuted:
        return x, y
    order = torch.randperm(x[0].numel(), generator=torch.Generator().manual_seed(0))
    return x.flatten(1)[:, order, None], y


def train(cell: str, model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], loss: Callable) -> tuple[int, float]:
    """AdamW with a constant rate over the batches, until they end or the mean loss is hardly more than nothing. Gives
    how many there were, and processor seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATES.get(cell, 1e-2), weight_decay=0.0)
    start, mean, count = time.process_time(), math.inf, 0
    for count, (x, y) in enumerate(batches, start=1):
        value = loss(model(x), y)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = value.item() if count == 1 else 0.95 * mean + 0.05 * value.item()
        if mean < SOLVED / 3 and loss is F.mse_loss:
            break
    return count, round(time.process_time() - start, 1)


def first_over_last(model: nn.Module, draw: Draw, loss: Callable) -> float:
    """The gradient's norm at the first step as a share of that at the last, median over 100 sequences."""
    x, y = draw(100, torch.Generator().manual_seed(7))
    batch = Batch(Sequences.of(x), y, torch.arange(len(x)))
    profile = gradients_by_step(model, [batch], lambda batch: loss(model(batch.inputs.values), batch.targets))
    return profile.at(x.shape[1] - 1)


def token_loss(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


@dataclass(frozen=True)
class Job:
    """One measurement."""

    task: str
    cell: str
    length: int
    seed: int
    data: str = ""

    @property
    def key(self) -> str:
        return " ".join(str(part) for part in (self.task, self.data, self.length, self.cell, self.seed) if part != "")

    def build(self, **options: Any) -> nn.Module:
        torch.manual_seed(self.seed)
        return corinth.create_model(self.cell, hidden_size=HIDDEN, **options)

    def run(self, updates: int) -> dict[str, Any]:
        measured = {"adding": self.adding, "copy": self.copy, "gradients": self.gradients}.get(self.task, self.images)
        return measured(updates) | {"machine": machine()}

    def gradients(self, updates: int) -> dict[str, Any]:
        model = self.build(input_size=2, num_classes=1)
        return {"fresh": first_over_last(model, adding(self.length), F.mse_loss)}

    def adding(self, updates: int) -> dict[str, Any]:
        model, draw = self.build(input_size=2, num_classes=1), adding(self.length)
        rng = torch.Generator().manual_seed(self.seed)
        count, seconds = train(self.cell, model, (draw(BATCH, rng) for _ in range(updates)), F.mse_loss)
        x, y = draw(1000, torch.Generator().manual_seed(12345))
        with torch.no_grad():
            error = F.mse_loss(model(x), y).item()
        trained = first_over_last(model, draw, F.mse_loss)
        return {"mse": error, "updates": count, "most": updates, "trained": trained, "seconds": seconds}

    def copy(self, updates: int) -> dict[str, Any]:
        tokens = SYMBOLS + 2
        model = self.build(vocab_size=tokens, input_size=tokens, pool="none", num_classes=tokens)
        draw, rng = copying(self.length), torch.Generator().manual_seed(self.seed)
        count, seconds = train(self.cell, model, (draw(BATCH, rng) for _ in range(updates)), token_loss)
        x, y = draw(1000, torch.Generator().manual_seed(12345))
        with torch.no_grad():
            logits = model(x)
        recalled = (logits[:, -COPIED:].argmax(2) == y[:, -COPIED:]).double().mean().item()
        return {"loss": token_loss(logits, y).item(), "recalled": recalled, "updates": count, "seconds": seconds}

    def images(self, updates: int) -> dict[str, Any]:
        permuted = self.task == "permuted"
        x, y = digits(self.data, "train", permuted)
        model, rng = self.build(input_size=x.shape[2], num_classes=10), torch.Generator().manual_seed(self.seed)
        orders = (torch.randperm(len(x), generator=rng).split(BATCH) for _ in range(EPOCHS[self.data]))
        batches = ((x[rows], y[rows]) for order in orders for rows in order)
        count, seconds = train(self.cell, model, batches, F.cross_entropy)
        x, y = digits(self.data, "test", permuted)
        with torch.no_grad():
            accuracy = (model(x).argmax(1) == y).double().mean().item()
        return {"accuracy": accuracy, "updates": count, "seconds": seconds}


def plan(cells: list[str], seeds: int, longest: int) -> list[Job]:
    """The shorter first, of each every cell and seed."""
    pairs = [(cell, seed) for seed in range(seeds) for cell in cells]
    lengths = [length for length in (50, 100, 200, 400, 800) if length <= longest]
    jobs = [Job("gradients", cell, length, seed) for length in lengths for cell, seed in pairs]
    jobs += [Job("adding", cell, length, seed) for length in lengths[:2] for cell, seed in pairs]
    jobs += [Job(task, cell, STEPS[task, data], seed, data) for task, data in STEPS for cell, seed in pairs]
    jobs += [Job("copy", cell, length, seed) for length in (10, 50) for cell, seed in pairs]
    return jobs + [Job("adding", cell, length, seed) for length in lengths[2:] for cell, seed in pairs]


def table(rows: dict[str, dict[str, Any]], cells: list[str]) -> str:
    """Markdown: of every task and length a line, of every cell a column; mean and range over the seeds."""
    lines = [
        "| task | steps | " + " | ".join(f"`{cell}`" for cell in cells) + " |",
        "|---|---" * 1 + "|---" * len(cells) + "|",
    ]
    places = list(dict.fromkeys(" ".join(key.split()[:-2]) for key in rows))
    for measure in MEASURES:
        for place in places:
            found = [[r for s in range(99) if (r := rows.get(f"{place} {cell} {s}"))] for cell in cells]
            task, *rest = place.split()
            if task not in measure.tasks or not any(found):
                continue
            shown = [measure.show([value[measure.key] for value in values]) if values else "" for values in found]
            name = " ".join((measure.name, *rest[:-1]))
            lines.append(f"| {name} | {rest[-1]}{measure.beside(int(rest[-1]))} | {' | '.join(shown)} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Measure:
    """A number of some tasks, and how it is written."""

    key: str
    name: str
    tasks: tuple[str, ...]
    show: Callable[[list[float]], str]
    beside: Callable[[int], str] = lambda length: ""


def spread(form: str) -> Callable[[list[float]], str]:
    def show(values: list[float]) -> str:
        text = f"{statistics.mean(values):{form}}"
        if len(values) > 1:
            text += f" ({min(values):{form}} to {max(values):{form}})"
        return text if len(values) == 3 else f"{text}, n = {len(values)}"

    return show


def solved(values: list[float]) -> str:
    return f"{spread('.4f')(values)}; {sum(value < SOLVED for value in values)} of {len(values)}"


def powers(values: list[float]) -> str:
    return f"{statistics.median(values):.0e}"


MEASURES = (
    Measure("mse", "adding: MSE; solved", ("adding",), solved),
    Measure("updates", "adding: batches", ("adding",), spread(".0f")),
    Measure("fresh", "gradient, fresh", ("gradients",), powers),
    Measure("trained", "gradient, after adding", ("adding",), powers),
    Measure(
        "loss", "copy: cross-entropy", ("copy",), spread(".4f"),
        lambda length: f" ({10 * math.log(8) / (length + 20):.4f})",
    ),
    Measure("recalled", "copy: symbols", ("copy",), spread(".1%")),
    Measure("accuracy", "rows", ("rows",), spread(".1%")),
    Measure("accuracy", "permuted", ("permuted",), spread(".1%")),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], help="tasks: gradients, adding, copy, rows, permuted")
    parser.add_argument("--cells", nargs="+", default=list(CELLS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--longest", type=int, default=800, help="steps of the adding problem")
    parser.add_argument("--updates", type=int, default=1500, help="batches at most, of adding and copy")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print the table of what is there, and train nothing")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for job in [] if args.table else plan(args.cells, args.seeds, args.longest):
        if job.key in rows or (args.only and job.task not in args.only):
            continue
        rows[job.key] = job.run(args.updates)
        shown = {key: value for key, value in rows[job.key].items() if key != "machine"}
        print(job.key, ", ".join(f"{key} {value:.4g}" for key, value in shown.items()), flush=True)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows, args.cells))


if __name__ == "__main__":
    main()
