"""What a load did, tensor by tensor."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LoadReport:
    """Every tensor of the model and of the checkpoint is accounted for in one of these."""

    source: str  # the layout it was read as
    where: str  # the file, or "the state dict"
    loaded: tuple[str, ...]  # our names, the reshaped ones included
    reshaped: dict[str, str]  # our name -> what was done to the tensor
    missing: tuple[str, ...]  # our names that keep their fresh value: a new head, heads the checkpoint is without
    unexpected: tuple[str, ...]  # their names that were left out on purpose
    notes: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """True if the model now is the checkpoint's model: nothing fresh, left out, or adapted."""
        return not (self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded from {self.where} ({self.source})"]
        for words, names in (
            ("reshaped", [f"{name} ({how})" for name, how in self.reshaped.items()]),
            ("fresh", self.missing),
            ("left out", self.unexpected),
        ):
            if names:
                parts.append(f"{len(names)} {words}: {some(names)}")
        return "; ".join([*parts, *self.notes])


def some(names: Sequence[str], limit: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
