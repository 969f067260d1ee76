"""LSTM: a recurrent network whose state is kept by default and changed through gates.

Hochreiter & Schmidhuber, *Long Short-Term Memory*, Neural Computation 9(8), 1997; with the forget gate of Gers,
Schmidhuber & Cummins, *Learning to Forget*, Neural Computation 12(10), 2000.

The cell state c_t is a sum, so its gradient passes from step to step without a product with the weights: what vanishes
in an RNN is kept here for as long as the forget gate is open. With x_t the input and h_t the hidden state, in the order
of the weights' rows:

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)      input gate: how much of the candidate is written
    f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)      forget gate: how much of the state is kept
    g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)         candidate
    o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)      output gate: how much of the state is shown
    c_t = f_t * c_{t-1} + i_t * g_t                 cell state
    h_t = o_t * tanh(c_t)                           hidden state, the output

Shapes: B batch, T steps, I inputs, H hidden units, D directions.
Deviations from the papers: one cell a block, gradients through all steps, two biases (as torch has them; their sum
counts), no peepholes (see peephole.py). `layer_norm` is Ba, Kiros & Hinton 2016 (1607.06450), equations 20 to 22.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from corinth.layers import cells
from corinth.layers.recurrence import State
from corinth.layers.recurrent import (
    RECIPE,
    Cell,
    Recurrent,
    RecurrentConfig,
    count_macs,
    count_parameters,
    normalised,
    tasks_of,
)
from corinth.registry import Card, register


@dataclass(frozen=True, kw_only=True)
class LSTMConfig(RecurrentConfig):
    """A stack of LSTM layers."""

    forget_bias: float = 1.0  # the forget gate's bias to begin with: open, as Jozefowicz et al. 2015 advise

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.forget_bias, bool) or not isinstance(self.forget_bias, int | float):
            raise ValueError(f"forget_bias {self.forget_bias!r} is not a number")


@cells.lstm()
def lstm_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    _, c = state
    i, f, g, o = (x + u).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@cells.lstm(normed=True)
def normed_lstm_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    """Ba et al. 2016, equations 20 to 22."""
    _, c = state
    gain_x, gain_u, bias, gain_c, shift_c = weights
    i, f, g, o = (normalised(x, gain_x) + normalised(u, gain_u) + bias).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(normalised(c, gain_c) + shift_c), c


class LSTM(Recurrent):
    """The state is (h, c)."""

    cell = Cell(
        lstm_step,
        gates=4,
        states=2,
        normed=normed_lstm_step,
        normed_vectors={"norm_c": 1, "shift_c": 1},
        fused=nn.LSTM,
    )

    def init_weights(self) -> None:
        """As of every recurrent network; the forget gates' bias is `forget_bias`."""
        super().init_weights()
        cfg: Any = self.cfg
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("bias_ih"):
                nn.init.constant_(parameter.data.chunk(4)[1], cfg.forget_bias)


SYNONYMS = {
    "i, f, g, o": "input, forget, candidate (cell, modulation), output gate; torch's order; Keras: i, f, c, o",
    "weight_ih, weight_hh": "W, U (paper), kernel and recurrent_kernel (Keras), weight_ih_l0 and weight_hh_l0 (torch)",
}
DEVIATIONS = ("the forget gate is that of Gers et al. 2000; gradients through all steps; no peepholes",)
STEPS = 128
for name, options, vectors in (
    ("lstm", LSTMConfig(), 0),
    ("bilstm", LSTMConfig(bidirectional=True), 0),
    ("lstm_layernorm", LSTMConfig(layer_norm=True), 10),
):
    register(
        name,
        LSTM,
        options,
        Card(
            params=count_parameters(options, 4, vectors),
            macs=count_macs(options, 4, STEPS),
            paper="Layer Normalization" if options.layer_norm else "Long Short-Term Memory",
            year=2016 if options.layer_norm else 1997,
            arxiv="1607.06450" if options.layer_norm else None,
            input_size=(STEPS, options.input_size),
            family="recurrent",
            tasks=tasks_of(options),
            recipe=RECIPE,
            deviations=DEVIATIONS,
            references=() if options.layer_norm else ("torch:LSTM",),
            synonyms=SYNONYMS,
        ),
    )
