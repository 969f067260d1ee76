"""Search for the likeliest sequence of tokens, one token after the other: greedily or with a beam.

A decoder gives log-probabilities of the next token, given those before. Greedy search takes the likeliest each time. A
beam keeps the `beam` likeliest beginnings and extends all of them; ended ones compete by their log-probability divided
by the length penalty of Wu et al. 2016 (1609.08144, equation 14), without which short sequences win:

    lp(Y) = ((5 + |Y|) / 6)^alpha

Shapes: B sequences, K beams, V tokens.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from torch import Tensor

ALPHA = 0.6  # of the length penalty; Wu et al. found 0.6 to 0.7 to serve


class State(Protocol):
    """What a decoder keeps between two tokens, for each sequence."""

    def select(self, rows: Tensor) -> Self: ...


Step = Callable[[Any, Tensor], tuple[Tensor, Any]]  # state and tokens (B,) to logits (B, V) and the state behind


def greedy(step: Step, state: State, limits: Tensor, *, begin: int, end: int) -> list[list[int]]:
    """The tokens of each sequence, up to `end`, which is among them, or to as many as `limits` (B,) says."""
    token = torch.full_like(limits, begin)
    open_ = torch.ones_like(limits, dtype=torch.bool)
    tokens = []
    for step_number in range(int(limits.max())):
        logits, state = step(state, token)
        logits[:, begin] = -math.inf
        token = torch.where(open_, logits.argmax(1), end)
        tokens.append(token)
        open_ &= (token != end) & (step_number + 1 < limits)
        if not open_.any():
            break
    found = torch.stack(tokens, dim=1).tolist()
    return [_until(row, end, limit) for row, limit in zip(found, limits.tolist())]


def _until(tokens: list[int], end: int, limit: int) -> list[int]:
    """As far as the first `end`, or the limit."""
    kept = tokens[:limit]
    return kept[: kept.index(end) + 1] if end in kept else kept


def length_penalty(length: int, alpha: float) -> float:
    """Wu et al. 2016, equation 14; `length` counts the end's token too."""
    return ((5 + length) / 6) ** alpha


def beam_search(
    step: Step, state: State, limits: Tensor, beam: int, *, begin: int, end: int, alpha: float = ALPHA
) -> tuple[list[list[int]], list[float]]:
    """The best ended sequence of each, and its log-probability over its length penalty.

    A sequence that has reached its limit, of `limits` (B,) tokens, counts as ended as it is. The search for a sequence
    is over when as many as the beam is wide have ended, or no open one can overtake the best of them.
    """
    sequences, device, most = len(limits), limits.device, limits.tolist()
    rows = torch.arange(sequences, device=device)
    state = state.select(rows.repeat_interleave(beam))
    scores = torch.full((sequences, beam), -math.inf, device=device)
    scores[:, 0] = 0.0  # all beams are alike in the beginning: one of them counts
    token = torch.full((sequences * beam,), begin, dtype=torch.int64, device=device)
    history = torch.empty(sequences, beam, 0, dtype=torch.int64, device=device)
    ended: list[list[tuple[float, list[int]]]] = [[] for _ in range(sequences)]
    alive = list(range(sequences))  # the sequences that are searched still, in the order of the tensors
    for length in range(1, max(most) + 1):
        logits, state = step(state, token)
        logits[:, begin] = -math.inf
        logs = logits.float().log_softmax(1).view(len(alive), beam, -1)
        vocabulary = logs.shape[2]
        best, places = (scores[:, :, None] + logs).flatten(1).topk(min(2 * beam, beam * vocabulary), dim=1)
        origins, tokens = places // vocabulary, places % vocabulary
        taken, next_alive = [], []
        likeliest, found, by = best.tolist(), tokens.tolist(), origins.tolist()  # one wait for the device for all
        for number, sequence in enumerate(alive):
            kept = _extend(
                likeliest[number],
                by[number],
                found[number],
                history[number],
                ended[sequence],
                beam=beam,
                end=end,
                penalty=length_penalty(length, alpha),
                last=length == most[sequence],
            )
            if kept and not _settled(ended[sequence], likeliest[number][kept[0]], beam, most[sequence], alpha):
                next_alive.append(number)
                taken.append(kept + [kept[-1]] * (beam - len(kept)))
        if not next_alive:
            break
        rows = torch.tensor(next_alive, device=device)
        chosen = torch.tensor(taken, device=device)  # (B, K), places among the candidates
        origin = origins[rows].gather(1, chosen)
        scores = best[rows].gather(1, chosen)
        twins = chosen[:, 1:] == chosen[:, :-1]
        scores[:, 1:] = scores[:, 1:].masked_fill(twins, -math.inf)
        fresh = tokens[rows].gather(1, chosen)
        before = history[rows].gather(1, origin[:, :, None].expand(-1, -1, history.shape[2]))
        history = torch.cat((before, fresh[:, :, None]), dim=2)
        state = state.select((rows[:, None] * beam + origin).flatten())
        token = fresh.flatten()
        alive = [alive[number] for number in next_alive]
    winners = [max(entries, key=lambda entry: entry[0]) for entries in ended]
    return [tokens for _, tokens in winners], [score for score, _ in winners]


def _extend(
    scores: list[float],
    origins: list[int],
    tokens: list[int],
    history: Tensor,
    ended: list[tuple[float, list[int]]],
    *,
    beam: int,
    end: int,
    penalty: float,
    last: bool,
) -> list[int]:
    """The candidates that stay open, best first; those that end are added to `ended`."""
    kept: list[int] = []
    for place, (score, origin, token) in enumerate(zip(scores, origins, tokens, strict=True)):
        if score == -math.inf or len(kept) == beam:
            break
        if token == end or last:
            if place < beam:  # one that ends counts only if it is among the best
                ended.append((score / penalty, [*history[origin].tolist(), token]))
        else:
            kept.append(place)
    return [] if last else kept


def _settled(ended: list[tuple[float, list[int]]], best: float, beam: int, limit: int, alpha: float) -> bool:
    """Whether no open sequence, of which `best` is the likeliest, can become better than the best that has ended."""
    if not ended:
        return False
    if len(ended) >= beam:
        return True
    return best / length_penalty(limit, alpha) <= max(score for score, _ in ended)
