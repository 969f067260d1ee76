"""Boxes against boxes: overlap, the loss on it, and the suppression of repeated detections.

Boxes are (x1, y1, x2, y2) in pixels, continuous: a box is x2 - x1 pixels wide.
"""

import torch
from torch import Tensor

BLOCK = 512  # boxes that suppression decides together


def iou_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every box of a (N, 4) with every box of b (M, 4), (N, M); 0 where both are empty."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    union = _area(a)[:, None] + _area(b)[None] - shared
    return torch.where(union > 0, shared / union, 0.0)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised overlap of the pairs a[i], b[i], both (N, 4), one of them with an area: (N,) in (-1, 1].

    Rezatofighi et al. 2019 (arXiv:1902.09630), algorithm 1: the overlap, less the share of the smallest box around
    both that neither fills.
    """
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    union = _area(a) + _area(b) - shared
    around = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(dim=-1)
    return shared / union - (around - union) / around


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, most: int | None = None) -> Tensor:
    """Non-maximum suppression in each class: int64 positions of the boxes (N, 4) that stay, best score first.

    Greedy: from the best on, a box goes if it overlaps one of its class that stays by more than `threshold`. Of those
    that stay the best `most` are given. Blocks of boxes are decided one after the other, each against what stays, so
    with `most` the work grows with N and not with its square, and ends where enough stay.
    """
    order = scores.argsort(descending=True, stable=True)
    kept = order[:0]
    for block in order.split(BLOCK):
        block = block[~_beats(boxes, labels, kept, block, threshold).any(dim=0)]
        kept = torch.cat((kept, block[_stay(_beats(boxes, labels, block, block, threshold))]))
        if most is not None and len(kept) >= most:
            break
    return kept[:most]


def _beats(boxes: Tensor, labels: Tensor, a: Tensor, b: Tensor, threshold: float) -> Tensor:
    """Whether the box at a[i] takes that at b[j] out, should it stay and be better: bool (len(a), len(b))."""
    return (iou_matrix(boxes[a], boxes[b]) > threshold) & (labels[a][:, None] == labels[b][None])


def _stay(beats: Tensor) -> Tensor:
    """Which boxes stay, the best first, bool (N,), where `beats` (N, N) is `_beats` of them and themselves.

    All are decided at once, again and again until nothing changes: a box's answer depends on better ones alone, so
    after k rounds the k best have their final answer, and a few rounds do.
    """
    beats = beats.triu(diagonal=1)  # [i, j]: i comes before j and overlaps it
    keep = torch.ones(len(beats), dtype=torch.bool, device=beats.device)
    for _ in range(len(beats)):
        now = ~(beats & keep[:, None]).any(dim=0)
        if torch.equal(now, keep):
            break
        keep = now
    return keep


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
