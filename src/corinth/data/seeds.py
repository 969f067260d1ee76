"""One number from several: the seed of everything random that must be repeatable from a position alone."""

from hashlib import blake2b

import torch


def mix(*parts: int | str) -> int:
    """A 63-bit seed that is a pure function of the parts; near parts give unrelated seeds."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded with `mix(*parts)`."""
    return torch.Generator().manual_seed(mix(*parts))
