"""Attention of a decoder over what an encoder made of the source: where to look, and what is seen there.

Bahdanau, Cho & Bengio 2015 (1409.0473), section 3.1 and appendix A.1.2; Luong, Pham & Manning 2015 (1508.04025),
section 3.1. With queries q_t from the decoder and the memory m_s from the encoder, one entry a step of the source:

    a_t = softmax over s of score(q_t, m_s)      where to look, the alignment
    c_t = sum over s of a_ts m_s                 what is seen, the context

    dot       q^T m                              (Luong, equation 8)
    general   q^T W m                            (Luong, equation 8)
    additive  v^T tanh(W q + U m)                (Bahdanau, A.1.2; Luong's concat, whose W_a is W beside U)

What depends on the memory alone, W m or U m, is computed once a sentence: the keys.

Shapes: B batch, T steps of the decoder, S steps of the source, Q width of the queries, M of the memory.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

Score = Literal["additive", "dot", "general"]


class Attention(nn.Module):
    """`score` is one of the three; the additive one compares in `hidden_size` numbers. None has a bias."""

    def __init__(self, score: Score, query_size: int, memory_size: int, hidden_size: int) -> None:
        super().__init__()
        if score == "dot" and query_size != memory_size:
            raise ValueError(
                f"score 'dot' needs a memory as wide as the queries, and {memory_size} is not {query_size}"
            )
        self.query = nn.Linear(query_size, hidden_size, bias=False) if score == "additive" else None
        width = hidden_size if score == "additive" else query_size
        self.key = None if score == "dot" else nn.Linear(memory_size, width, bias=False)
        self.energy = nn.Linear(hidden_size, 1, bias=False) if score == "additive" else None

    def keys(self, memory: Tensor) -> Tensor:
        """What of the score depends on the memory (B, S, M) alone, (B, S, N)."""
        return memory if self.key is None else self.key(memory)

    def forward(self, query: Tensor, keys: Tensor, memory: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor]:
        """Queries (B, T, Q) to contexts (B, T, M) and weights (B, T, S), 0 where `padding` (B, S) is true."""
        if self.query is None or self.energy is None:
            scores = query @ keys.transpose(1, 2)
        else:
            scores = self.energy(torch.tanh(self.query(query)[:, :, None] + keys[:, None]))[..., 0]
        if padding is not None:
            scores = scores.masked_fill(padding[:, None], -math.inf)
        wide = torch.promote_types(scores.dtype, torch.float32)  # also where autocast made them shorter
        weights = scores.softmax(dim=2, dtype=wide).to(memory.dtype)
        return weights @ memory, weights


def count_parameters(score: Score, query_size: int, memory_size: int, hidden_size: int) -> int:
    """Of an `Attention`."""
    if score == "additive":
        return hidden_size * (query_size + memory_size + 1)
    return 0 if score == "dot" else query_size * memory_size


def count_macs(score: Score, query_size: int, memory_size: int, hidden_size: int, source: int, target: int) -> int:
    """Of `target` queries over a memory of `source` steps."""
    once = 0 if score == "dot" else source * memory_size * (hidden_size if score == "additive" else query_size)
    compared = hidden_size if score == "additive" else query_size
    projected = target * query_size * hidden_size if score == "additive" else 0
    return once + projected + target * source * (compared + memory_size)
