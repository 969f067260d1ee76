"""Several architectures on the same data under the same budget: who is better, by how much, and how sure that is."""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

# name -> the module that has it; imported on first use, so that the statistics do not wait for torch
_PUBLIC = {
    "compare": "corinth.compare.bakeoff",
    "Leaderboard": "corinth.compare.leaderboard",
    "Row": "corinth.compare.leaderboard",
    "Cost": "corinth.compare.leaderboard",
    "leaderboard_table": "corinth.compare.leaderboard",
    "Difference": "corinth.compare.statistics",
    "Interval": "corinth.compare.statistics",
    "method_text": "corinth.compare.statistics",
    "paired_differences": "corinth.compare.statistics",
    "score_interval": "corinth.compare.statistics",
}
__all__ = [*_PUBLIC]

if TYPE_CHECKING:
    from corinth.compare.bakeoff import compare as compare
    from corinth.compare.leaderboard import Cost as Cost
    from corinth.compare.leaderboard import Leaderboard as Leaderboard
    from corinth.compare.leaderboard import Row as Row
    from corinth.compare.leaderboard import leaderboard_table as leaderboard_table
    from corinth.compare.statistics import Difference as Difference
    from corinth.compare.statistics import Interval as Interval
    from corinth.compare.statistics import method_text as method_text
    from corinth.compare.statistics import paired_differences as paired_differences
    from corinth.compare.statistics import score_interval as score_interval


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'corinth.compare' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


class _CallableModule(types.ModuleType):
    """Importing this package binds it as `corinth.compare`, over the function of that name; so it can be called too."""

    def __call__(self, *args: Any, **options: Any) -> "Leaderboard":
        return importlib.import_module("corinth.compare.bakeoff").compare(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
