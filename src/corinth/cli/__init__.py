"""The command line: one thin module a verb, imported only when it is called."""

from corinth.cli.app import main

__all__ = ["main"]
