"""The reporter that suits where the output goes."""

from rich.console import Console

from corinth.training.progress import LineReporter, Reporter, RichReporter


def reporter() -> Reporter:
    """A live display on a terminal, plain lines elsewhere; both on stderr, so that stdout has the result alone."""
    console = Console(stderr=True)
    return RichReporter(console) if console.is_terminal else LineReporter(console)
