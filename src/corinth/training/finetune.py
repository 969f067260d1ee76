"""Fine-tuning: which stages stay as they are, how fast the others learn, and the recipe that starts from weights."""

import difflib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from corinth.data.rows.encoding import RowEncoding
from corinth.errors import UsageError, WeightsError
from corinth.inspect import Stage, stages
from corinth.registry import configure, entry
from corinth.training.recipe import Recipe
from corinth.weights import read_config

# The numbers of a fine-tuning recipe; docs/training.md has the reasons.
BATCH_SIZE = 16  # at most
LR_SHARE, SGD_LR_SHARE = 0.5, 0.25  # of the peak rate with which the architecture learns from scratch
FIRST_STAGE_SHARE = 0.3  # of the head's rate, for the first stage; the layer decay follows from the number of stages
WARMUP = 0.1
EPOCHS = 15
CROP_PADDING = 0.0625


def freeze(model: nn.Module, upto: int | str, name: str) -> str:
    """Take the gradient from every stage up to and including `upto`, a stage, a row of stages or a number of them.

    Returns a sentence about it. `name` is what the network is called in an error.
    """
    found = stages(model)
    count = upto if isinstance(upto, int) else _position(found, upto, name)
    names = [stage.name for stage in found]
    if count >= len(found):
        raise UsageError(
            f"freeze {upto!r} leaves nothing of {name} to train; the last stage that can be frozen is {names[-2]}"
        )
    for stage in found[:count]:
        for parameter in stage.parameters.values():
            parameter.requires_grad_(False)
    frozen, whole = (sum(stage.count for stage in part) for part in (found[:count], found))
    return f"frozen: {', '.join(names[:count])} ({frozen:,} of {whole:,} parameters)"


def _position(found: list[Stage], wanted: str, name: str) -> int:
    """The number of stages up to and including the last that is called `wanted` or lies in it."""
    names = [stage.name for stage in found]
    for position in reversed(range(len(names))):
        if names[position] == wanted or names[position].startswith(f"{wanted}."):
            return position + 1
    near = difflib.get_close_matches(wanted, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"freeze {wanted!r} is no stage of {name}; {hint}it has {', '.join(names)}")


def training_mode(nets: nn.Module) -> None:
    """Training mode, but for modules that are frozen whole: their running statistics stay as they are."""
    nets.train()
    if all(parameter.requires_grad for parameter in nets.parameters()):
        return
    for module in nets.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def rate_factors(net: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """What each parameter's learning rate is multiplied with: 1 in the head, `decay` less with every stage before."""
    found = stages(net)
    return {
        parameter: decay ** (len(found) - 1 - position)
        for position, stage in enumerate(found)
        for parameter in stage.parameters.values()
    }


def finetuned(own: Recipe) -> dict[str, Any]:
    """What a fine-tuning recipe has different from `own`, which is from scratch."""
    found = entry(own.arch)
    try:
        config = configure(found.name, **own.options)
    except TypeError as error:
        raise UsageError(str(error)) from error
    with torch.device("meta"):
        count = len(stages(found.cls(config)))
    share = SGD_LR_SHARE if own.optimizer.lower() == "sgd" else LR_SHARE
    images = {
        "augmentation": {"crop_padding": CROP_PADDING, "flip": own.augmentation.flip},
        "img_size": None,  # the weights' own
    }
    return {
        "batch_size": BATCH_SIZE if own.batch_size == "auto" else min(BATCH_SIZE, own.batch_size),
        "lr": float(f"{own.lr * share:.3g}"),
        "layer_decay": round(FIRST_STAGE_SHARE ** (1 / (count - 1)), 3),
        "schedule": "cosine",
        "warmup": WARMUP,
        "budget": f"{EPOCHS}ep",
        **({} if found.card.family == "recurrent" or _take_rows(own.weights) else images),
    }


def _take_rows(weights: str | None) -> bool:
    """Whether weights are of a network that rows of tables were given to."""
    if weights is None or not Path(weights).exists():
        return False
    try:
        return isinstance(read_config(weights).preprocess, RowEncoding)
    except WeightsError:
        return False  # a foreign file
