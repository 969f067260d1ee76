"""A network that fits its data, by a recipe: its options checked, its weights loaded, its first stages frozen."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from corinth.data.dataset import DataSet
from corinth.errors import UsageError
from corinth.registry import entry
from corinth.training.finetune import freeze
from corinth.training.options import configure_for
from corinth.training.recipe import Recipe
from corinth.weights import load_weights


def fitted(recipe: Recipe, data: DataSet, needed: Mapping[str, Any], say: Callable[[str], object]) -> nn.Module:
    """With the options that the data need, which the recipe may not contradict; `say` is told what was loaded and
    frozen."""
    found = entry(recipe.arch)
    for name, value in needed.items():
        if recipe.options.get(name, value) != value:
            raise UsageError(
                f"{name} {recipe.options[name]} does not fit {data.name}, which needs {value}; leave it out"
            )
    model = found.cls(configure_for(found, {**recipe.options, **needed}))
    if recipe.weights is not None:
        say(f"weights: {load_weights(model, recipe.weights, arch=found.name)}")
    if recipe.freeze is not None:
        say(freeze(model, recipe.freeze, found.name))
    return model
