"""GRU: a gated recurrent network with two gates and no state beside its output.

Cho et al., *Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation*, 2014
(arXiv:1406.1078), section 2.3.

What an LSTM does with three gates and two states is done with two gates and one: the update gate decides at once how
much of the old state is kept and how much of the candidate is written, the reset gate how much of the old state the
candidate sees. In the order of the weights' rows:

    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)                 reset gate (equation 5)
    z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)                 update gate (equation 6)
    n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + b'_n))     candidate (equation 8)
    h_t = z_t * h_{t-1} + (1 - z_t) * n_t                      hidden state, the output (equation 7)

Shapes: B batch, T steps, I inputs, H hidden units, D directions.
Deviations from the paper: the reset gate works on the product with U_n, not on the state before it, as torch and cuDNN
have it: that lets one product serve all three, and makes b'_n count. Biases. The layer-normalised form normalises r and
z together and the candidate apart, as the supplement of Ba et al. 2016 (1607.06450).
"""

import torch
from torch import Tensor, nn

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


def gru_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    (h,), (bias,) = state, weights
    x_r, x_z, x_n = x.chunk(3, dim=1)
    u_r, u_z, u_n = (u + bias).chunk(3, dim=1)
    z = torch.sigmoid(x_z + u_z)
    n = torch.tanh(x_n + torch.sigmoid(x_r + u_r) * u_n)
    return (z * h + (1 - z) * n,)


def normed_gru_step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
    gain_x, gain_u, bias_x, bias_u = weights
    width = 2 * state[0].shape[1]  # of the two gates

    def norm(product: Tensor, gain: Tensor) -> Tensor:
        gates, candidate = (normalised(product[:, at], gain[..., at]) for at in (slice(width), slice(width, None)))
        return torch.cat((gates, candidate), dim=1)

    return gru_step(norm(x, gain_x) + bias_x, norm(u, gain_u), state, (bias_u,))


class GRU(Recurrent):
    """The state is h."""

    cell = Cell(gru_step, gates=3, inner_bias=True, normed=normed_gru_step, fused=nn.GRU)


SYNONYMS = {
    "r, z, n": "reset, update, candidate (paper: r, z, h~); torch's order; Keras: z, r, h, with reset_after=True",
    "z": "keeps the old state; in Chung et al. 2014 it lets the new one in",
}
STEPS = 128
for name, options in (("gru", RecurrentConfig()), ("bigru", RecurrentConfig(bidirectional=True))):
    register(
        name,
        GRU,
        options,
        Card(
            params=count_parameters(options, 3),
            macs=count_macs(options, 3, STEPS),
            paper="Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation",
            year=2014,
            arxiv="1406.1078",
            input_size=(STEPS, options.input_size),
            family="recurrent",
            tasks=tasks_of(options),
            recipe=RECIPE,
            deviations=("the reset gate works behind the recurrent product, as in torch and cuDNN",),
            references=("torch:GRU",),
            synonyms=SYNONYMS,
        ),
    )
