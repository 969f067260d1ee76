"""Weights that an id names, fetched before the work begins and not in the middle of it."""

import sys

from corinth.cli.output import note


def prefetch(weights: str | None) -> None:
    """Fetch the weights of a hub's id: a bar on a terminal, a line elsewhere; nothing for a path or what is there."""
    from corinth.weights import fetch, hub_id

    wanted = hub_id(weights)
    if wanted is None:
        return
    if not sys.stderr.isatty():
        said: set[str] = set()

        def line(label: str, done: int, total: int) -> None:
            if label not in said:
                said.add(label)
                note(f"{label} ({total / 2**20:,.0f} MiB)" if total >= 2**20 else label)

        fetch(wanted, progress=line)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as display:
        task = display.add_task("", total=None, visible=False)
        fetch(
            wanted,
            progress=lambda label, done, total: display.update(
                task, description=label, completed=done, total=total or None, visible=True
            ),
        )
