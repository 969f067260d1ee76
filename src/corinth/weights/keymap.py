"""Key maps: how the names of a foreign checkpoint correspond to ours, written once and read in both directions."""

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor

COUNTER = "num_batches_tracked"  # a batch norm's step counter: no part of what it computes


@dataclass(frozen=True)
class Op:
    """What happens to a tensor on the way in, and its exact inverse on the way out."""

    name: str
    apply: Callable[[Tensor], Tensor]
    undo: Callable[[Tensor], Tensor]


SAME = Op("same", lambda t: t, lambda t: t)
TRANSPOSE = Op("transposed", lambda t: t.mT, lambda t: t.mT)


def flatten_kernel(size: int) -> Op:
    """A `size` x `size` convolution used as a fully connected layer: (O, I, size, size) to (O, I * size * size)."""
    return Op("kernel flattened", lambda t: t.flatten(1), lambda t: t.unflatten(1, (-1, size, size)))


@dataclass(frozen=True)
class Rule:
    """`theirs` and `ours` are whole names; each `{}` stands for one dotted part and is carried over in order."""

    theirs: str
    ours: str
    op: Op = SAME

    def __post_init__(self) -> None:
        if self.theirs.count("{}") != self.ours.count("{}"):
            raise ValueError(f"{self.theirs!r} and {self.ours!r} do not have the same number of {{}}")


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(r"([^.]+)".join(re.escape(part) for part in template.split("{}")))


def _translate(name: str, source: str, target: str) -> str | None:
    if not name.startswith(source.partition("{}")[0]):  # a deep network has hundreds of rules
        return None
    match = _pattern(source).fullmatch(name)
    return target.format(*match.groups()) if match else None


@dataclass(frozen=True)
class KeyMap:
    """The rules of one architecture in one source's layout.

    `optional` are prefixes of ours, such as auxiliary heads, which either side may be without. `counters` says
    whether the layout has the step counters of batch norms. `prefix` stands before every name in the source's
    files (reading takes it off, writing puts it on). `older` are rules for names that only older files of the
    source have: they are read, never written. `neutral` are tensors of ours that the layout does not have, with the
    value at which they change nothing: reading sets it, and only a model that has it can be written. `note` is said at
    each load.
    """

    rules: tuple[Rule, ...]
    optional: tuple[str, ...] = ()
    counters: bool = True
    prefix: str = ""
    older: tuple[Rule, ...] = ()
    neutral: tuple[tuple[str, float], ...] = ()
    note: str | None = field(default=None, compare=False)

    def to_ours(self, name: str) -> tuple[str, Op] | None:
        """Our name of one of theirs and the operation on its tensor; None where no rule knows it."""
        rules = (*self.rules, *self.older)
        return self._one(name, ((_translate(name, rule.theirs, rule.ours), rule.op) for rule in rules))

    def to_theirs(self, name: str) -> tuple[str, Op] | None:
        """Their name of one of ours, and the operation to undo; None where the layout has no place for it."""
        if name.endswith(COUNTER) and not self.counters:
            return None
        return self._one(name, ((_translate(name, rule.ours, rule.theirs), rule.op) for rule in self.rules))

    def is_optional(self, ours: str) -> bool:
        return ours.startswith(self.optional) if self.optional else False

    @staticmethod
    def _one(name: str, found: Iterable[tuple[str | None, Op]]) -> tuple[str, Op] | None:
        hits = [(target, op) for target, op in found if target is not None]
        if len(hits) > 1:
            raise ValueError(f"{name!r} is matched by several rules: {', '.join(target for target, _ in hits)}")
        return hits[0] if hits else None


def renames(pairs: Iterable[tuple[str, str]]) -> tuple[Rule, ...]:
    """Layers that only have another name: each pair names a layer, its tensors keep their last part."""
    return tuple(Rule(f"{theirs}.{{}}", f"{ours}.{{}}") for theirs, ours in pairs)


def units(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """For `renames`: units of a convolution and a norm, which the source calls `conv` and `bn`."""
    return [(f"{theirs}.{t}", f"{ours}.{o}") for theirs, ours in pairs for t, o in (("conv", "conv"), ("bn", "norm"))]
