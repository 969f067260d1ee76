"""RNN: a network that sees a sequence step by step and remembers through its own hidden state.

Elman, *Finding Structure in Time*, Cognitive Science 14(2), 1990.

One set of weights W, U, V serves all steps. With the input x_t, the hidden state h_t and the output o_t:

    h_t = f(W x_t + U h_{t-1} + b)       f is tanh, or ReLU
    o_t = softmax(V h_t)

U and W are `weight_hh` and `weight_ih`, V is the head, whose logits come before the softmax. A step's error reaches an
earlier one through a product of many Jacobians, which vanishes or explodes with their number: Bengio, Simard and
Frasconi, *Learning Long-Term Dependencies with Gradient Descent is Difficult*, 1994.

Shapes: B batch, T steps, I inputs, H hidden units, D directions.
Deviations from the paper: tanh in place of the logistic function, gradients through all steps in place of one, two
biases (as torch has them; their sum counts), any number of layers and directions. The layer-normalised form normalises
the two products apart, as Ba et al. 2016 do in their LSTM, not their sum (their equation 4).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from corinth.layers import checks
from corinth.layers.recurrence import State
from corinth.layers.recurrent import (
    RECIPE,
    TASKS,
    Cell,
    Recurrent,
    RecurrentConfig,
    count_macs,
    count_parameters,
    normalised,
)
from corinth.registry import Card, register

Activation = Literal["tanh", "relu"]


@dataclass(frozen=True, kw_only=True)
class RNNConfig(RecurrentConfig):
    """A stack of simple recurrent layers."""

    nonlinearity: Activation = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("nonlinearity", self.nonlinearity, get_args(Activation))


def tanh_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    return (torch.tanh(x + u),)


def relu_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    return (torch.relu(x + u),)


def normed_tanh_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    gain_x, gain_u, bias = weights
    return (torch.tanh(normalised(x, gain_x) + normalised(u, gain_u) + bias),)


def normed_relu_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    gain_x, gain_u, bias = weights
    return (torch.relu(normalised(x, gain_x) + normalised(u, gain_u) + bias),)


class RNN(Recurrent):
    """h_t = f(W x_t + U h_{t-1} + b)."""

    cell = Cell(tanh_step, gates=1, normed=normed_tanh_step, fused=nn.RNN)
    relu = Cell(relu_step, gates=1, normed=normed_relu_step, fused=partial(nn.RNN, nonlinearity="relu"))

    def cell_of(self, cfg: Any) -> Cell:
        return self.relu if cfg.nonlinearity == "relu" else self.cell


SYNONYMS = {
    "weight_ih": "W (here), U in texts that write h_t = f(U x_t + W h_{t-1}), weight_ih_l0 (torch)",
    "weight_hh": "U (here), W in those texts, weight_hh_l0 (torch)",
    "head": "V",
}
STEPS = 128
for name, options in (("rnn", RNNConfig()), ("rnn_relu", RNNConfig(nonlinearity="relu"))):
    register(
        name,
        RNN,
        options,
        Card(
            params=count_parameters(options, 1),
            macs=count_macs(options, 1, STEPS),
            paper="Finding Structure in Time",
            year=1990,
            input_size=(STEPS, options.input_size),
            family="recurrent",
            tasks=TASKS,
            recipe=RECIPE,
            deviations=("tanh or ReLU; gradients through all steps; layers, directions and heads are options",),
            references=("torch:RNN",),
            synonyms=SYNONYMS,
        ),
    )
