"""What a forecasting network is trained with."""

from typing import Any

from torch import nn

from corinth.data import SequenceData
from corinth.data.sequences.forecast_encoding import ForecastEncoding
from corinth.errors import UsageError
from corinth.tasks import Forecasting
from corinth.training.recipe import Recipe


def make_forecasting(encoding: Any, recipe: Recipe, model: nn.Module, data: Any) -> Forecasting:
    """`encoding` is the network's own; without one that of the training part."""
    assert isinstance(data, SequenceData)
    if recipe.class_weights != "none":
        raise UsageError(f"class_weights {recipe.class_weights} is not for {data.task}; leave it out")
    if not isinstance(encoding, ForecastEncoding):
        encoding = ForecastEncoding.measured(data, relative=recipe.relative)
    return Forecasting(
        model,
        horizon=encoding.horizon,
        targets=encoding.targets,
        relative=encoding.relative,
        loss=recipe.regression_loss,
    )
