"""Entities in tags of the form B-x, I-x, O: spans of words, scored whole (Tjong Kim Sang & De Meulder 2003)."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

Entities = set[tuple[str, int, int]]  # type, first and last word


def has_entities(tags: Iterable[str]) -> bool:
    """Whether all tags are of that form."""
    return all(tag == "O" or tag[:2] in ("B-", "I-") for tag in tags)


def entities_of(tags: Sequence[str]) -> Entities:
    """Of one sentence; an I-x behind no x begins one, as in conlleval."""
    found: Entities = set()
    kind, first = "", 0
    for place, tag in enumerate([*tags, "O"]):
        mark, _, this = tag.partition("-")
        if kind and (mark != "I" or this != kind):
            found.add((kind, first, place - 1))
            kind = ""
        if mark in ("B", "I") and not kind:
            kind, first = this, place
    return found


class EntityF1(Metric):
    """The harmonic mean of precision and recall of whole entities; 0 where none is right."""

    full_state_update = False
    right: Tensor
    called: Tensor
    support: Tensor

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(classes)
        for name in ("right", "called", "support"):
            self.add_state(name, torch.zeros(()), dist_reduce_fx="sum")

    def update(self, tags: Tensor, targets: Tensor, lengths: Tensor) -> None:
        """Tags and targets (B, T), of which `lengths` (B,) count."""
        for said, true, length in zip(tags.tolist(), targets.tolist(), lengths.tolist(), strict=True):
            found, wanted = (entities_of([self.classes[tag] for tag in row[:length]]) for row in (said, true))
            self.right += len(found & wanted)
            self.called += len(found)
            self.support += len(wanted)

    def compute(self) -> Tensor:
        return 2 * self.right / (self.called + self.support).clamp(min=1)
