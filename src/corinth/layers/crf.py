"""A conditional random field over a chain: how well tags follow one another, beside what each step says by itself.

Lafferty, McCallum & Pereira, *Conditional Random Fields*, ICML 2001; behind a recurrent network Huang, Xu & Yu 2015
(1508.01991) and Lample et al. 2016 (1603.01360), whose equations are meant. Of tags y_1 .. y_T with emissions P (T, K)
and transitions A the score is (equation 1)

    s(y) = A[start, y_1] + sum_t P[t, y_t] + sum_t A[y_t, y_{t+1}] + A[y_T, end]

and their probability exp(s(y)) over the sum of exp(s) of all K^T sequences, which the forward algorithm adds up in
T K^2 steps. Shapes: B batch, T steps, K tags.
"""

import torch
from torch import Tensor, nn


class CRF(nn.Module):
    """`transitions[i, j]` is the score of tag j behind tag i; `start` and `end` those of the first and the last tag."""

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags))
        self.start = nn.Parameter(torch.empty(num_tags))
        self.end = nn.Parameter(torch.empty(num_tags))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def forward(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """The logarithm of the probability of `tags` (B, T), of which `lengths` (B,) count, (B,)."""
        emissions, lengths = emissions.float(), lengths.to(emissions.device)
        return self.score(emissions, tags, lengths) - self.log_sum(emissions, lengths)

    def score(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Equation 1, (B,)."""
        steps = torch.arange(emissions.shape[1], device=emissions.device)
        counts = steps < lengths[:, None]  # (B, T)
        tags = tags.masked_fill(~counts, 0)
        own = emissions.gather(2, tags[:, :, None])[:, :, 0].masked_fill(~counts, 0).sum(1)
        moves = self.transitions[tags[:, :-1], tags[:, 1:]].masked_fill(~counts[:, 1:], 0).sum(1)
        last = tags.gather(1, lengths[:, None] - 1)[:, 0]
        return self.start[tags[:, 0]] + own + moves + self.end[last]

    def log_sum(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """The logarithm of the sum of exp(s) over all sequences of tags, (B,): the forward algorithm."""
        so_far = self.start + emissions[:, 0]  # (B, K), of all beginnings that end in each tag
        for step in range(1, emissions.shape[1]):
            longer = (so_far[:, :, None] + self.transitions).logsumexp(1) + emissions[:, step]
            so_far = torch.where((step < lengths)[:, None], longer, so_far)
        return (so_far + self.end).logsumexp(1)

    @torch.no_grad()
    def decode(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """The likeliest tags, int64 (B, T), 0 behind each end: Viterbi's algorithm."""
        emissions, lengths = emissions.float(), lengths.to(emissions.device)
        best = self.start + emissions[:, 0]  # (B, K)
        stay = torch.arange(best.shape[1], device=best.device).expand_as(best)
        came_from = []
        for step in range(1, emissions.shape[1]):
            scores, origin = (best[:, :, None] + self.transitions).max(1)
            inside = (step < lengths)[:, None]
            best = torch.where(inside, scores + emissions[:, step], best)
            came_from.append(torch.where(inside, origin, stay))
        tags = [(best + self.end).argmax(1)]
        for origin in reversed(came_from):
            tags.append(origin.gather(1, tags[-1][:, None])[:, 0])
        found = torch.stack(tags[::-1], dim=1)
        return found.masked_fill(torch.arange(found.shape[1], device=found.device) >= lengths[:, None], 0)
