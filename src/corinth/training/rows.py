"""The network and the encoding of rows of tables, as a recipe and the data ask for them."""

from collections.abc import Callable
from typing import Any

from torch import nn

from corinth.data.rows.encoding import RowEncoding
from corinth.data.rows.source import RowData
from corinth.errors import UsageError
from corinth.registry import entry
from corinth.training.finetune import freeze
from corinth.training.options import WHAT, configure_for
from corinth.training.recipe import Recipe
from corinth.weights import load_weights, read_config


def make_encoding(recipe: Recipe, data: RowData) -> RowEncoding:
    """The encoding that the recipe's weights were trained with; without weights one measured on the training part."""
    if recipe.weights is None:
        return RowEncoding.measured(data)
    known: Any = read_config(recipe.weights).preprocess
    if not isinstance(known, RowEncoding):
        raise UsageError(f"{recipe.weights} was not trained on {WHAT['row']}")
    known.check_columns(data)
    return known


def build_row_model(recipe: Recipe, data: RowData, say: Callable[[str], object]) -> tuple[nn.Module, RowEncoding]:
    """A network for the data's columns and classes; `say` is told what was loaded and frozen."""
    found = entry(recipe.arch)
    encoding = make_encoding(recipe, data)
    options: dict[str, Any] = {"num_classes": data.num_classes, "input_size": encoding.num_inputs}
    for name, value in options.items():
        if recipe.options.get(name, value) != value:
            raise UsageError(
                f"{name} {recipe.options[name]} does not fit {data.name}, which needs {value}; leave it out"
            )
    model = found.cls(configure_for(found, {**recipe.options, **options}))
    if recipe.weights is not None:
        say(f"weights: {load_weights(model, recipe.weights, arch=found.name)}")
    if recipe.freeze is not None:
        say(freeze(model, recipe.freeze, found.name))
    return model, encoding
