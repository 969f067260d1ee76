"""Initialisations that keep the scale of signals from layer to layer."""

from typing import Literal

import torch
from torch import nn

WEIGHTED = (nn.Conv2d, nn.Linear)


def scaled_normal_(
    module: nn.Module,
    nonlinearity: Literal["relu", "tanh", "sigmoid"] = "relu",
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
) -> None:
    """Draw the weights of every convolution and linear layer in `module`, and set their biases to zero.

    He et al. 2015 (arXiv:1502.01852) eq. 10 for relu; for tanh and sigmoid the variance of Glorot & Bengio 2010
    eq. 16, times the square of torch's gain, which is 5/3 for tanh and 1 for sigmoid.
    """
    for layer in module.modules():
        if not isinstance(layer, WEIGHTED):
            continue
        if nonlinearity == "relu":
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        else:
            nn.init.xavier_normal_(layer.weight, gain=nn.init.calculate_gain(nonlinearity))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def gaussian_(layer: nn.Module, std: float = 0.01, bias: float = 0.0) -> None:
    """Draw one layer's weights from N(0, std²) and set its bias, as Krizhevsky et al. 2012 (section 5) do."""
    if not isinstance(layer, WEIGHTED):
        raise TypeError(f"{type(layer).__name__} has no weights to draw")
    nn.init.normal_(layer.weight, 0.0, std)
    if layer.bias is not None:
        with torch.no_grad():
            layer.bias.fill_(bias)
