"""Peephole LSTM: an LSTM whose gates see the cell state.

Gers & Schmidhuber, *Recurrent Nets that Time and Count*, IJCNN 2000; Gers, Schraudolph & Schmidhuber, *Learning Precise
Timing with LSTM Recurrent Networks*, JMLR 3, 2002.

A gate of an LSTM sees the state only as far as the output gate shows it; while that is closed, the other gates are
blind. Three vectors p of peephole weights let each unit's gates see its own state, and so measure intervals:

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + p_i * c_{t-1} + b_i)
    f_t = sigmoid(W_f x_t + U_f h_{t-1} + p_f * c_{t-1} + b_f)
    c_t = f_t * c_{t-1} + i_t * tanh(W_g x_t + U_g h_{t-1} + b_g)
    o_t = sigmoid(W_o x_t + U_o h_{t-1} + p_o * c_t + b_o)
    h_t = o_t * tanh(c_t)

`weight_ph` (3H) holds p_i, p_f and p_o; all else is as in lstm.py.

Shapes: B batch, T steps, I inputs, H hidden units, D directions.
Deviations from the papers: gradients through all steps and through the peepholes, which the authors cut; h_t takes the
tanh of the state (the papers squash it otherwise, or not at all). The peepholes start at zero, so a fresh network
is an LSTM. The layer-normalised form normalises as Ba et al. 2016 do in theirs; the peepholes see the state itself.
"""

import torch
from torch import Tensor

from corinth.layers import cells
from corinth.layers.recurrence import State
from corinth.layers.recurrent import RECIPE, TASKS, Cell, count_macs, count_parameters, normalised
from corinth.models.recurrent.lstm import LSTM, SYNONYMS, LSTMConfig
from corinth.registry import Card, register


@cells.lstm(peepholes=True)
def peephole_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    _, c = state
    i, f, g, o = (x + u).chunk(4, dim=1)
    p_i, p_f, p_o = weights[0].chunk(3, dim=-1)
    c_new = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
    return torch.sigmoid(o + p_o * c_new) * torch.tanh(c_new), c_new


@cells.lstm(peepholes=True, normed=True)
def normed_peephole_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    _, c = state
    gain_x, gain_u, bias, peepholes, gain_c, shift_c = weights
    i, f, g, o = (normalised(x, gain_x) + normalised(u, gain_u) + bias).chunk(4, dim=1)
    p_i, p_f, p_o = peepholes.chunk(3, dim=-1)
    c_new = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
    return torch.sigmoid(o + p_o * c_new) * torch.tanh(normalised(c_new, gain_c) + shift_c), c_new


class PeepholeLSTM(LSTM):
    """The state is (h, c)."""

    cell = Cell(
        peephole_step,
        gates=4,
        states=2,
        vectors={"weight_ph": 3},
        normed=normed_peephole_step,
        normed_vectors={"norm_c": 1, "shift_c": 1},
    )


STEPS = 128
OPTIONS = LSTMConfig()
register(
    "lstm_peephole",
    PeepholeLSTM,
    OPTIONS,
    Card(
        params=count_parameters(OPTIONS, 4, 3),
        macs=count_macs(OPTIONS, 4, STEPS),
        paper="Recurrent Nets that Time and Count",
        year=2000,
        input_size=(STEPS, OPTIONS.input_size),
        family="recurrent",
        tasks=TASKS,
        recipe=RECIPE,
        deviations=("gradients through all steps and through the peepholes; tanh of the cell state",),
        synonyms={
            **SYNONYMS,
            "weight_ph": "p (here), w_c (Gers et al.), peephole weights P of ONNX's LSTM (order i, o, f)",
        },
    ),
)
