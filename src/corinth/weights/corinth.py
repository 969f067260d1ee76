"""Our own layout: the names are the model's."""

from torch import nn

from corinth.weights.keymap import KeyMap, Rule

DEEPEST = 12  # parts of the longest name

# one rule for each number of dotted parts
_SAME = tuple(Rule(name, name) for name in (".".join(["{}"] * parts) for parts in range(1, DEEPEST + 1)))
_OPTIONAL = {"GoogLeNet": ("aux_heads.",), "InceptionV3": ("aux_heads.",)}


def key_map(model: nn.Module) -> KeyMap:
    return KeyMap(_SAME, optional=_OPTIONAL.get(type(model).__name__, ()))
