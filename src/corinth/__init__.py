"""Corinth: the classic deep-learning architectures on PyTorch, and an honest comparison of them on your own data."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> the module that has it; imported on first use, so that `import corinth` stays light
_PUBLIC = {
    "create_model": "corinth.registry",
    "list_models": "corinth.registry",
    "card": "corinth.registry",
    "load_weights": "corinth.weights",
    "load_backbone": "corinth.weights",
    "dump_weights": "corinth.weights",
    "train": "corinth.training",
    "Recipe": "corinth.training",
    "compare": "corinth.compare",
    "load_run": "corinth.predictor",
    "open_data": "corinth.data",
    "optimize": "corinth.inference",
    "CorinthError": "corinth.errors",
}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from corinth.compare import compare as compare
    from corinth.data import open_data as open_data
    from corinth.errors import CorinthError as CorinthError
    from corinth.inference import optimize as optimize
    from corinth.predictor import load_run as load_run
    from corinth.registry import card as card
    from corinth.registry import create_model as create_model
    from corinth.registry import list_models as list_models
    from corinth.training import Recipe as Recipe
    from corinth.training import train as train
    from corinth.weights import dump_weights as dump_weights
    from corinth.weights import load_backbone as load_backbone
    from corinth.weights import load_weights as load_weights


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'corinth' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
