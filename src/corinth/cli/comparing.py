"""`corinth compare`: several architectures, one budget, several seeds."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from corinth.cli.output import note
from corinth.cli.parsing import assignments, parse
from corinth.errors import UsageError
from corinth.training.recipe import NESTED


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare architectures on your data. Interrupted, the same command goes on where it stopped (with --output)."""

    data: str
    """A built-in name, a folder of class folders, or a CSV / Parquet table."""
    models: str
    """Architectures with commas between; LABEL=NAME to give one of them several lines."""
    budget: str = "20ep"
    """What each run may spend: 20ep | 60s | 2e6samples | 1e15flops."""
    seeds: int = 3
    """How many times each architecture is trained."""
    output: Path | None = None
    """Folder of the board and the runs; runs/<date>-compare-<data> if left out."""
    control: Literal["shuffled-labels"] | None = None
    """shuffled-labels: train on labels that mean nothing; all should score at chance."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="[MODEL.]FIELD=VALUE")] = ()
    """Change a recipe, such as lenet5.lr=0.01, or all of them, such as split_seed=1; may be repeated."""
    fresh: bool = False
    """Refuse an --output that holds a comparison already, in place of going on with it."""
    quiet: bool = False
    """No progress display."""
    json: bool = False
    """The board as JSON on stdout in place of the table."""


def main(args: Sequence[str]) -> int:
    options = parse(Options, "compare", args)
    models = [name.strip() for name in options.models.split(",") if name.strip()]
    if not models:
        raise UsageError("--models needs at least one architecture; `corinth list` shows them")
    overrides, recipes = _recipes(options.set, [name.partition("=")[0] for name in models])
    from corinth.cli.output import to_json
    from corinth.cli.progress import reporter
    from corinth.compare.bakeoff import compare

    board = compare(
        options.data,
        models,
        budget=options.budget,
        seeds=options.seeds,
        output=options.output,
        control=options.control,
        recipes=recipes,
        overrides=overrides,
        resume=not options.fresh,
        reporter=None if options.quiet else reporter(),
    )
    if options.json:
        print(to_json(board.to_dict()))
    else:
        _show(board)
    if board.interrupted:
        note(f"interrupted and saved in {board.path}; the same command with --output {board.path} goes on")
    elif board.report is not None:
        note(f"report: {board.report}")
    return board.exit_code


def _recipes(items: Sequence[str], labels: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Changes for all, and changes by label; `augmentation.flip=true` belongs to all."""
    overrides: dict[str, Any] = {}
    recipes: dict[str, dict[str, Any]] = {}
    for key, value in assignments(items).items():
        label = max((label for label in labels if key.startswith(f"{label}.")), key=len, default=None)
        target = overrides if label is None else recipes.setdefault(label, {})
        field = key if label is None else key.removeprefix(f"{label}.")
        outer, dot, inner = field.partition(".")
        if not dot:
            target[field] = value
        elif outer in (*NESTED, "options"):
            if not isinstance(target.setdefault(outer, {}), dict):
                raise UsageError(f"--set gives {outer} the value {target[outer]!r} and {field} besides; leave one out")
            target[outer][inner] = value
        else:
            raise UsageError(f"--set {key} names no model of --models; there are {', '.join(labels)}")
    return overrides, recipes


def _show(board: Any) -> None:
    from rich.console import Console

    from corinth.compare.leaderboard import leaderboard_table

    width = None if sys.stdout.isatty() else 200  # in a pipe nothing is cut
    Console(width=width).print(leaderboard_table(board))
