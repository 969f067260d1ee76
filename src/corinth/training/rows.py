"""The network and the encoding of rows of tables, as a recipe and the data ask for them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from corinth.data.measured import target_scale
from corinth.data.rows.encoding import RowEncoding
from corinth.data.rows.source import MeasuredRows, RowData
from corinth.errors import UsageError
from corinth.training.network import fitted
from corinth.training.options import WHAT
from corinth.training.recipe import Recipe
from corinth.weights import read_config


def make_encoding(recipe: Recipe, data: RowData) -> RowEncoding:
    """The encoding that the recipe's weights were trained with; without weights one measured on the training part."""
    if recipe.weights is None:
        return RowEncoding.measured(data)
    known: Any = read_config(recipe.weights).preprocess
    if not isinstance(known, RowEncoding):
        raise UsageError(f"{recipe.weights} was not trained on {WHAT['row']}")
    known.check_data(data)
    if isinstance(data.source, MeasuredRows) and known.target_mean is None:  # of a network for classes
        known = replace(known, **target_scale(data))
    return known


def build_row_model(recipe: Recipe, data: RowData, say: Callable[[str], object]) -> tuple[nn.Module, RowEncoding]:
    """A network for the data's columns and classes; `say` is told what was loaded and frozen."""
    encoding = make_encoding(recipe, data)
    outputs = 1 if isinstance(data.source, MeasuredRows) else data.num_classes
    options: dict[str, Any] = {"num_classes": outputs, "input_size": encoding.num_inputs}
    return fitted(recipe, data, options, say), encoding
