"""A classification network as a backbone: its maps at several strides in place of its classifier's logits.

As in feature pyramids (Lin et al. 2017, arXiv:1612.03144, section 3): of all maps of one size the last one counts,
because it is the strongest of them.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from corinth.errors import UsageError

SIDE = 2**6 * 3**3 * 5  # a multiple of every stride that is likely
_ROWS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True)
class Place:
    """Where a map comes from: the output of the `call`-th call of the module `name`."""

    name: str
    call: int
    channels: int
    unit: int  # which of the calls of units in a pass it belongs to


class Features(nn.Module):
    """The maps of `model` at `strides` (input pixels between neighbouring values), from fine to coarse.

    `model` becomes the backbone `body`: its head goes, and so does every part behind the coarsest map, so that no
    parameter is left without a gradient. `UsageError` for strides that it does not have.
    """

    def __init__(self, model: nn.Module, strides: Sequence[int]) -> None:
        super().__init__()
        places, order = find_maps(model)
        self.strides = _checked(strides, tuple(places), type(model).__name__)
        self.channels = tuple(places[stride].channels for stride in self.strides)
        self.body: Any = model
        self.body.reset_head(0)
        self._drop_behind(places[self.strides[-1]].unit, order)
        for name in {places[stride].name for stride in self.strides}:
            wanted = {places[stride].call: stride for stride in self.strides if places[stride].name == name}
            self.body.get_submodule(name).register_forward_hook(_Tap(self, name, wanted))
        self._forget()

    @property
    def cfg(self) -> Any:
        """The backbone's own config."""
        return self.body.cfg

    def _drop_behind(self, last: int, order: list[str]) -> None:
        """Put nothing in place of what is called behind the call `last`, or not at all."""
        needed = set(order[: last + 1])
        for name, unit in units_of(self.body).items():
            if name not in needed and any(True for _ in unit.parameters()):
                self.body.set_submodule(name, nn.Identity())

    def _forget(self) -> None:
        self.found: dict[int, Tensor] = {}
        self.calls: Counter[str] = Counter()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_chans, H, W) to one map (B, channels[i], about H/strides[i], about W/strides[i]) a stride."""
        self._forget()
        try:
            self.body.forward_features(x)
            return tuple(self.found[stride] for stride in self.strides)
        finally:
            self._forget()


class _Tap:
    """A forward hook that keeps a module's output; a class of its own, so that a copied network has copied hooks."""

    def __init__(self, owner: Features, name: str, wanted: dict[int, int]) -> None:
        self.owner = owner
        self.name = name
        self.wanted = wanted  # call -> stride

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        stride = self.wanted.get(self.owner.calls[self.name])
        self.owner.calls[self.name] += 1
        if stride is None:
            return output
        self.owner.found[stride] = output
        if stride != self.owner.strides[-1]:
            return output
        return output.new_empty((0, *output.shape[1:]))  # what is left of the pass costs nothing and changes no map


def find_maps(model: Any) -> tuple[dict[int, Place], list[str]]:
    """Stride -> the last map of that stride, fine to coarse; and the names of the units in the order of their calls.

    Units are the children of the network, with the parts of plain rows in place of these. The map of a stride that no
    unit has comes from inside of one. What a class names in `head_parts` belongs to the classifier and gives no map.
    Strides are exact: two passes over a twin on the meta device, with images that differ in size by a multiple of any
    stride, tell by how much the maps grow.
    """
    own = getattr(model.cfg, "img_size", model.cfg.min_size)
    (smaller, order), (larger, _) = (_trace(model, own + SIDE * times) for times in (1, 2))
    outer: dict[int, Place] = {}
    inner: dict[int, Place] = {}
    for (place, side, is_unit), (_, grown, _) in zip(smaller, larger, strict=True):
        stride, rest = divmod(SIDE, grown - side) if grown > side else (0, 1)
        if not rest:  # else the map does not grow with the image, or unevenly
            (outer if is_unit else inner)[stride] = place
    return dict(sorted(({**inner, **outer}).items())), order


def _trace(model: Any, size: int) -> tuple[list[tuple[Place, int, bool]], list[str]]:
    """Every call whose output is a map, with the map's side and whether a unit made it; the units that were called."""
    options = {"num_classes": 0} | ({"img_size": size} if hasattr(model.cfg, "img_size") else {})
    with torch.device("meta"):
        twin: Any = type(model)(dataclasses.replace(model.cfg, **options)).eval()
    units = units_of(twin)
    head = getattr(twin, "head_parts", ())
    found: list[tuple[Place, int, bool]] = []
    order: list[str] = []
    calls: Counter[str] = Counter()

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            is_unit = name in units
            if isinstance(output, Tensor) and output.ndim == 4 and name.partition(".")[0] not in head:
                place = Place(name, calls[name], output.shape[1], len(order) - 1)
                found.append((place, output.shape[-1], is_unit))
            calls[name] += 1

        return hook

    for name, module in twin.named_modules():
        if name and type(module) is not nn.Sequential:
            module.register_forward_hook(look(name))
    for name, unit in units.items():
        unit.register_forward_pre_hook(lambda *_, name=name: order.append(name))
    with torch.no_grad():
        twin.forward_features(torch.empty(1, model.cfg.in_chans, size, size, device="meta"))
    return found, order


def units_of(module: nn.Module, *, deep: bool = True) -> dict[str, nn.Module]:
    """Children by name, with the parts of plain rows in their place; `deep`: of rows in rows, too.

    A subclass of a row is a block, not a row. A backbone inside another network has units of its own.
    """
    units: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        if isinstance(child, Features):
            parts = {f"body.{key}": part for key, part in units_of(child.body, deep=deep).items()}
        elif type(child) in _ROWS:
            parts = units_of(child) if deep else dict(child.named_children())
        else:
            units[name] = child
            continue
        units |= {f"{name}.{key}": part for key, part in parts.items()}
    return units


def _checked(strides: Sequence[int], known: tuple[int, ...], name: str) -> tuple[int, ...]:
    if not isinstance(strides, Sequence) or isinstance(strides, str):
        raise UsageError(f"features {strides!r} is not several strides, as in (4, 8, 16, 32)")
    wanted = tuple(strides)
    shown = f"features {wanted}"
    if not known:
        raise UsageError(f"{shown}: {name} has no maps of growing strides to give")
    has = f"{name} has maps of strides {', '.join(map(str, known))}"
    if not wanted:
        raise UsageError(f"{shown} names no stride; {has}")
    if unknown := [stride for stride in wanted if stride not in known]:
        raise UsageError(f"{shown}: there is no map of stride {unknown[0]!r}; {has}")
    if list(wanted) != sorted(set(wanted)):
        raise UsageError(f"{shown}: name each stride once, from fine to coarse, as in {tuple(sorted(set(wanted)))}")
    return wanted
