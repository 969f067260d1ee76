"""The names of torch's own recurrent modules, `nn.RNN`, `nn.LSTM` and `nn.GRU`."""

from torch import nn

from corinth.layers.recurrent import Recurrent
from corinth.weights.keymap import KeyMap, Rule


def key_map(model: nn.Module) -> KeyMap | None:
    """The layers' names; torch's modules have neither an embedding nor a head. None for cells that torch has not."""
    if not isinstance(model, Recurrent) or not isinstance(model.rnn, nn.RNNBase):
        return None
    names = [name for name, _ in model.rnn.named_parameters()]
    return KeyMap(tuple(Rule(name, f"rnn.{name}") for name in names), optional=("embed.", "head."))
