"""Optimizers by name, with their parameter groups."""

import difflib
import inspect
from typing import Any

import torch
from torch import nn

from corinth.errors import UsageError
from corinth.training.finetune import rate_factors
from corinth.training.recipe import Recipe

# they need a closure, sparse gradients, or matrices only: no drop-in
_UNFIT = {"LBFGS", "SparseAdam", "Muon", "Optimizer"}


def optimizer_names() -> dict[str, type[torch.optim.Optimizer]]:
    """Lower-case name to class."""
    found = {}
    for name, cls in vars(torch.optim).items():
        if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and name not in _UNFIT:
            found[name.lower()] = cls
    return found


def find_optimizer(name: str) -> type[torch.optim.Optimizer]:
    known = optimizer_names()
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it must be {', '.join(sorted(known))}"
        raise UsageError(f"optimizer {name!r} is not valid; {hint}")
    return known[name.lower()]


def make_optimizer(recipe: Recipe, nets: list[nn.Module]) -> torch.optim.Optimizer:
    """The recipe's optimizer over the trainable parameters of `nets`, fused where torch has a fused form.

    Biases and norm parameters (everything with fewer than two dimensions) get no weight decay, unless the recipe
    says so. Fields of the recipe that the optimizer does not have are left out. Every group's `lr_factor` is what
    its rate is multiplied with (the recipe's `layer_decay`).
    """
    cls = find_optimizer(recipe.optimizer)
    accepted = inspect.signature(cls).parameters
    parameters = list({id(p): p for net in nets for p in net.parameters() if p.requires_grad}.values())
    if not parameters:
        raise UsageError("there is nothing to train: no network of the phase has a trainable parameter")
    options: dict[str, Any] = {
        "lr": recipe.lr,
        "momentum": recipe.momentum,
        "nesterov": recipe.nesterov and recipe.momentum > 0,
        "betas": recipe.betas,
        "weight_decay": recipe.weight_decay,
    }
    options = {name: value for name, value in options.items() if name in accepted}
    if "fused" in accepted and parameters[0].device.type in ("cpu", "cuda"):
        options["fused"] = True
    elif "foreach" in accepted:
        options["foreach"] = True
    factors: dict[nn.Parameter, float] = {}
    if recipe.layer_decay < 1:
        for net in nets:
            factors |= rate_factors(net, recipe.layer_decay)
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for parameter in parameters:
        factor, plain = factors.get(parameter, 1.0), not (recipe.decay_norm_and_bias or parameter.ndim >= 2)
        group = {"params": [], "lr_factor": factor, "lr": recipe.lr * factor} | ({"weight_decay": 0.0} if plain else {})
        groups.setdefault((factor, plain), group)["params"].append(parameter)
    return cls([groups[key] for key in sorted(groups)], **options)
