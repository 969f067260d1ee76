"""`corinth list`: the architectures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from corinth.cli.output import print_table, quantity, size_of, to_json
from corinth.cli.parsing import parse


@dataclass(frozen=True, kw_only=True)
class Options:
    """The architectures, with parameters, multiply-adds and papers."""

    pattern: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[PATTERN]")] = None
    """Names to show, such as "res*"; all if left out."""
    family: str | None = None
    """convolutional | recurrent | attention | adversarial."""
    task: str | None = None
    """Such as image-classification."""
    json: bool = False
    """JSON on stdout."""


def main(args: Sequence[str]) -> int:
    options = parse(Options, "list", args)
    from corinth.errors import UsageError
    from corinth.registry import card, entry, list_models

    names = list_models(options.pattern, family=options.family, task=options.task)
    if not names and options.pattern:
        entry(options.pattern)  # raises with the nearest name, unless the pattern is an alias
        names = [entry(options.pattern).name]
    if not names:
        tasks = sorted({task for name in list_models() for task in card(name).tasks})
        raise UsageError(f"no architecture matches; the tasks are {', '.join(tasks)}, and `corinth list` shows all")
    cards = {name: card(name) for name in names}
    if options.json:
        print(
            to_json(
                [
                    {
                        "name": name,
                        "family": c.family,
                        "tasks": list(c.tasks),
                        "params": c.params,
                        "macs": c.macs,
                        "year": c.year,
                        "paper": c.paper,
                        "arxiv": c.arxiv,
                        "input_size": list(c.input_size),
                    }
                    for name, c in cards.items()
                ]
            )
        )
        return 0
    columns = {"name": "left", "params": "right", "macs": "right", "input": "left", "year": "left", "paper": "left"}
    print_table(
        columns,
        [
            (name, quantity(c.params), quantity(c.macs), size_of(c.input_size), c.year, c.paper)
            for name, c in cards.items()
        ],
    )
    return 0
