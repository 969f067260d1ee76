"""Activations and poolings that a config chooses by name."""

from typing import Literal

from torch import nn

Activation = Literal["relu", "sigmoid", "tanh"]
Pool = Literal["max", "avg"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
POOLS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}
