"""Boxes against boxes: overlap, the loss on it, and the suppression of repeated detections.

Boxes are (x1, y1, x2, y2) in pixels, continuous: a box is x2 - x1 pixels wide.
"""

import torch
from torch import Tensor


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


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression in each class: int64 positions of the boxes (N, 4) that stay, best score first.

    Greedy: from the best on, a box goes if it overlaps one of its class that stays by more than `threshold`. All
    boxes are decided at once, again and again until nothing changes: a box's answer depends on better ones alone, so
    after k rounds the k best have their final answer, and a few rounds do.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, labels = boxes[order], labels[order]
    beats = (iou_matrix(boxes, boxes) > threshold) & (labels[:, None] == labels[None])
    beats = beats.triu(diagonal=1)  # [i, j]: i comes before j and overlaps it
    keep = torch.ones_like(labels, dtype=torch.bool)
    for _ in range(len(labels)):
        now = ~(beats & keep[:, None]).any(dim=0)
        if torch.equal(now, keep):
            break
        keep = now
    return order[keep]


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
