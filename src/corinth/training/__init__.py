"""Training: recipes, budgets, the loop, checkpoints and the run folder. Names load torch only when they need it."""

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Recipe": "recipe",
    "recipe_for": "recipe",
    "Budget": "budget",
    "parse_budget": "budget",
    "Reporter": "progress",
    "RichReporter": "progress",
    "LineReporter": "progress",
    "SilentReporter": "progress",
    "Run": "run",
    "train": "job",
}
__all__ = list(_PUBLIC)

if TYPE_CHECKING:
    from corinth.training.budget import Budget as Budget
    from corinth.training.budget import parse_budget as parse_budget
    from corinth.training.job import train as train
    from corinth.training.progress import LineReporter as LineReporter
    from corinth.training.progress import Reporter as Reporter
    from corinth.training.progress import RichReporter as RichReporter
    from corinth.training.progress import SilentReporter as SilentReporter
    from corinth.training.recipe import Recipe as Recipe
    from corinth.training.recipe import recipe_for as recipe_for
    from corinth.training.run import Run as Run


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'corinth.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"corinth.training.{_PUBLIC[name]}"), name)
