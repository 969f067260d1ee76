"""What recurrent networks have in common: config, stacks of layers in one or two directions, sequences of any length.

A network's own file has its cell, with the equations; `Recurrent` makes a stack of it. Cells that torch has a fused
kernel for run on it and have its parameters (`nn.RNN`, `nn.LSTM`, `nn.GRU`); all others, and these with layer
normalisation or dropout of the recurrent connection, run on `corinth.layers.recurrence`.

Shapes: B batch, T steps, I inputs, H hidden units, L layers, D directions, G rows of a layer's weights (gates x H).
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from corinth.errors import UsageError
from corinth.layers import checks, onednn
from corinth.layers.crf import CRF
from corinth.layers.recurrence import State, Step, input_products, recur

Pool = Literal["last", "mean", "max", "none"]
Init = Literal["orthogonal", "uniform"]
NORM_EPS = 1e-5
TASKS = (
    "sequence-classification",
    "sequence-regression",
    "sequence-tagging",
    "frame-classification",
    "transcription",
    "forecasting",
    "language-modeling",  # by reading forwards alone
)
RECIPE = {  # fields of `corinth.training.Recipe` that train small recurrent networks well
    "optimizer": "adamw",
    "lr": 2e-3,
    "weight_decay": 0.01,
    "batch_size": 64,
    "clip_norm": 1.0,
    "warmup": 0.05,
    "options": {"drop_rate": 0.3},
}


@dataclass(frozen=True)
class Cell:
    """A recurrent cell for `Recurrent`.

    `step` is as in `corinth.layers.recurrence`. Its weights are the layer's `vectors`, each with so many times H
    entries, and before them the bias of the recurrent product where that is not simply added to the input product
    (`inner_bias`). `normed` is the step of the layer-normalised form: its weights are the gains of the input and the
    recurrent product, the bias (with `inner_bias` those of both), the vectors, and its own. `fused` makes torch's
    module.
    """

    step: Step
    gates: int
    states: int = 1
    vectors: Mapping[str, int] = field(default_factory=dict)
    inner_bias: bool = False
    normed: Step | None = None
    normed_vectors: Mapping[str, int] = field(default_factory=dict)
    fused: Callable[..., nn.RNNBase] | None = None


def normalised(u: Tensor, gain: Tensor) -> Tensor:
    """Ba, Kiros & Hinton 2016 (1607.06450), equation 3, without its bias: each row of u (B, N) times gain (N)."""
    wide = u if u.dtype.itemsize >= 4 else u.float()  # half precision has no room for squares
    centred = wide - wide.mean(-1, keepdim=True)
    return (centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + NORM_EPS)).to(u.dtype) * gain


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Of every recurrent network."""

    input_size: int = 64  # numbers a step; with tokens, the width of their embedding
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = False
    vocab_size: int = 0  # tokens, which are embedded; 0: the input is numbers
    layer_norm: bool = False  # Ba et al. 2016
    drop_rate: float = 0.0  # between layers, and before the head
    variational: bool = False  # drop the same units at every step (Gal & Ghahramani 2016)
    recurrent_drop_rate: float = 0.0  # of the hidden state on its way to the next step, the same units at every step
    recurrent_init: Init = "orthogonal"  # of the recurrent weights, gate by gate; uniform: in +-1/sqrt(H), as torch
    pool: Pool = "last"  # what the head sees: the last state of each direction, the mean or max over steps, each step
    crf: bool = False  # a conditional random field over the tags of a sequence (crf.py); the head then sees each step
    num_classes: int = 10  # outputs of the head; 0: what the head would see

    def __post_init__(self) -> None:
        for name in ("input_size", "hidden_size", "num_layers"):
            checks.whole(name, getattr(self, name), 1)
        for name in ("vocab_size", "num_classes"):
            checks.whole(name, getattr(self, name), 0)
        for name in ("bidirectional", "layer_norm", "variational", "crf"):
            checks.switch(name, getattr(self, name))
        for name in ("drop_rate", "recurrent_drop_rate"):
            checks.share(name, getattr(self, name))
        checks.one_of("recurrent_init", self.recurrent_init, get_args(Init))
        checks.one_of("pool", self.pool, get_args(Pool))
        if self.crf and self.pool not in ("last", "none"):
            raise ValueError(f"crf is for a tag at every step, and pool {self.pool!r} gives one answer; leave it out")
        if self.crf:
            object.__setattr__(self, "pool", "none")

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def num_features(self) -> int:
        """Width of the output at each step, D x H."""
        return self.directions * self.hidden_size

    @property
    def places(self) -> list[tuple[str, int]]:
        """The suffix of each layer's and direction's parameters, as torch has it, and the width of its input."""
        ends = ("", "_reverse")[: self.directions]
        widths = [self.input_size, *[self.num_features] * (self.num_layers - 1)]
        return [(f"l{layer}{end}", width) for layer, width in enumerate(widths) for end in ends]


def tasks_of(cfg: RecurrentConfig) -> tuple[str, ...]:
    """What a network can do: one that reads a text backwards too has seen what it would have to predict."""
    return TASKS[:-1] if cfg.bidirectional else TASKS


class Weights(nn.Module):
    """The parameters of a stack under torch's names, for cells that torch has not.

    Of each layer and direction: `weight_ih` (G, I), `weight_hh` (G, H), `bias_ih` and `bias_hh` (G), and the vectors.
    """

    def __init__(self, cell: Cell, cfg: RecurrentConfig) -> None:
        super().__init__()
        gates, hidden = cell.gates * cfg.hidden_size, cfg.hidden_size
        vectors = cell.vectors
        if cfg.layer_norm:
            vectors = {**vectors, "norm_ih": cell.gates, "norm_hh": cell.gates, **cell.normed_vectors}
        for end, width in cfg.places:
            shapes = {
                "weight_ih": (gates, width),
                "weight_hh": (gates, hidden),
                "bias_ih": (gates,),
                "bias_hh": (gates,),
            }
            for name, shape in (shapes | {name: (times * hidden,) for name, times in vectors.items()}).items():
                self.register_parameter(f"{name}_{end}", nn.Parameter(torch.empty(shape)))

    def forward(self, x: Tensor, run: Callable[[Tensor], tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
        """`run(x)`, which uses these parameters: a call of this module, so that hooks and layer tables see it."""
        return run(x)


class Recurrent(nn.Module):
    """A stack of recurrent layers with a head. Subclasses say which `cell`, and may initialise more."""

    cell: ClassVar[Cell]
    cfg: RecurrentConfig

    def __init__(self, cfg: RecurrentConfig) -> None:
        super().__init__()
        self.cfg = cfg
        cell = self.cell_of(cfg)
        self.embed = nn.Embedding(cfg.vocab_size, cfg.input_size) if cfg.vocab_size else None
        self.rnn: nn.Module = Weights(cell, cfg) if cfg.layer_norm or cell.fused is None else self.fused(cell, cfg)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def cell_of(self, cfg: RecurrentConfig) -> Cell:
        return self.cell

    def fused(self, cell: Cell, cfg: RecurrentConfig) -> nn.Module:
        """torch's module, which holds the parameters too."""
        assert cell.fused is not None
        options: dict[str, Any] = {"batch_first": True, "bidirectional": cfg.bidirectional}
        if cfg.num_layers > 1 and not cfg.variational:
            options["dropout"] = cfg.drop_rate
        return cell.fused(cfg.input_size, cfg.hidden_size, cfg.num_layers, **options)

    def reset_head(self, num_classes: int) -> None:
        """A fresh head for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = nn.Linear(self.cfg.num_features, num_classes) if num_classes else nn.Identity()
        self.crf = CRF(num_classes) if self.cfg.crf and num_classes else None

    def init_weights(self) -> None:
        """Uniform in +-1/sqrt(H) as torch's modules, but recurrent weights as `recurrent_init` says, gains one,
        biases and vectors zero, embeddings from N(0, 0.1)."""
        bound = 1 / math.sqrt(self.cfg.hidden_size)
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("weight_hh") and self.cfg.recurrent_init == "orthogonal":
                for gate in parameter.data.split(self.cfg.hidden_size):
                    nn.init.orthogonal_(gate)
            elif name.startswith("weight_") and parameter.ndim == 2:
                nn.init.uniform_(parameter, -bound, bound)
            else:
                nn.init.constant_(parameter, float(name.startswith("norm_")))
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, 0.0, 0.1)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        state: Any = None,
        *,
        with_state: bool = False,
    ) -> Any:
        """As `forward_features`; to logits (B, num_classes), with pool "none" (B, T, num_classes); `with_state` also
        the state behind the last step, to go on from."""
        output, last = self.forward_features(x, lengths, state)
        logits = self.head(self.dropout(self.pooled(output, last, lengths)))
        return (logits, last) if with_state else logits

    def pooled(self, output: Tensor, state: Any, lengths: Tensor | Sequence[int] | None) -> Tensor:
        """What the head sees, (B, D x H), or (B, T, D x H) with pool "none"; padded steps play no part."""
        if self.cfg.pool == "none":
            return output
        if self.cfg.pool == "last":
            h = state[0] if isinstance(state, tuple) else state
            return torch.cat(h[-self.cfg.directions :].unbind(), dim=1)
        if lengths is None:
            return output.mean(1) if self.cfg.pool == "mean" else output.amax(1)
        lengths = torch.as_tensor(lengths, device=output.device)
        if self.cfg.pool == "mean":  # what is padded is zero
            return output.sum(1) / lengths.to(output)[:, None]
        padded = is_padding(lengths, output.shape[1])[:, :, None]
        return output.masked_fill(padded, -math.inf).amax(1)

    def forward_features(
        self, x: Tensor, lengths: Tensor | Sequence[int] | None = None, state: Any = None
    ) -> tuple[Tensor, Any]:
        """Sequences to the top layer's output at every step (B, T, D x H), and the state behind.

        x (B, T, I), or tokens (B, T) where the network has a `vocab_size`. `lengths` (B,), from 1 to T, says how many
        steps of each count: what is behind them changes nothing, and the output there is zero. The state is a tensor
        (L x D, B, H), of an LSTM a tuple (h, c) of two; without one it begins with zeros. The one that is returned is
        that behind each sequence's last step (first, for the backward direction); give it, detached, with the next
        piece of a long sequence for truncated back-propagation through time.
        """
        cfg, cell = self.cfg, self.cell_of(self.cfg)
        ends = None if lengths is None or x.ndim < 2 else checked_lengths(lengths, x)
        x = self._inputs(x, ends)
        states = self._states(state, x)
        drops = self.training and cfg.drop_rate > 0
        by_layer = self.training and (cfg.recurrent_drop_rate > 0 or (drops and cfg.variational))
        # torch's kernels are exported for one length only, the engine for any
        if isinstance(self.rnn, nn.RNNBase) and not by_layer and not torch.compiler.is_exporting():
            return self._fused(x, ends, state if state is None else states)

        def run(x: Tensor) -> tuple[Tensor, Any]:
            return self._layers(cell, x, ends, states)

        return self.rnn(x, run) if isinstance(self.rnn, Weights) else run(x)

    def _layers(self, cell: Cell, x: Tensor, lengths: Tensor | None, states: State) -> tuple[Tensor, Any]:
        """All layers on the engine, as `forward_features`."""
        cfg = self.cfg
        if lengths is not None:  # whatever stands there must not reach a gradient
            x = x.masked_fill(is_padding(lengths, x.shape[1])[:, :, None], 0)
        output = x.transpose(0, 1).contiguous()  # (T, B, I)
        ends: list[State] = []
        for layer in range(cfg.num_layers):
            if layer and self.training and cfg.drop_rate:
                output = self._drop(output)
            parts = []
            for direction in range(cfg.directions):
                place = layer * cfg.directions + direction
                first = tuple(value[place] for value in states)
                h, last = self._layer(cell, cfg.places[place][0], output, lengths, first, backward=direction == 1)
                parts.append(h)
                ends.append(last)
            output = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
        stacked = tuple(torch.stack(values) for values in zip(*ends))
        return output.transpose(0, 1), stacked if cell.states > 1 else stacked[0]

    def _inputs(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if self.embed is not None:
            if x.ndim != 2 or x.is_floating_point():
                raise UsageError(f"tokens are whole numbers (B, T), and these are {x.dtype} {tuple(x.shape)}")
            if lengths is not None:  # padding may be any number
                x = x.masked_fill(is_padding(lengths, x.shape[1]), 0)
            if not torch.compiler.is_compiling() and x.device.type == "cpu" and x.numel():
                low, high = int(x.min()), int(x.max())
                if low < 0 or high >= self.cfg.vocab_size:
                    bad = low if low < 0 else high
                    raise UsageError(f"token {bad} is outside of the vocabulary, 0 to {self.cfg.vocab_size - 1}")
            x = self.embed(x)
        if x.ndim != 3 or x.shape[2] != self.cfg.input_size:
            raise UsageError(
                f"sequences of shape {tuple(x.shape)} do not fit this network; it needs (B, T, {self.cfg.input_size})"
            )
        if not x.shape[1]:
            raise UsageError("the sequences have no steps; each needs at least one")
        return x

    def _states(self, state: Any, x: Tensor) -> State:
        count = self.cell_of(self.cfg).states
        shape = (self.cfg.num_layers * self.cfg.directions, x.shape[0], self.cfg.hidden_size)
        if state is None:
            return tuple(x.new_zeros(shape) for _ in range(count))
        states = tuple(state) if isinstance(state, tuple | list) else (state,)
        if len(states) != count or any(tuple(value.shape) != shape for value in states):
            have = ", ".join(str(tuple(value.shape)) for value in states)
            raise UsageError(f"the state has the shape {have}; it needs {' and '.join([str(shape)] * count)}")
        return states

    def _fused(self, x: Tensor, lengths: Tensor | None, states: State | None) -> tuple[Tensor, Any]:
        """By torch's kernel; that of the LSTM stays in single precision where a CPU has none in bfloat16."""
        if isinstance(self.rnn, nn.LSTM) and self._is_shortened(x) and not onednn.knows_bfloat16():
            with torch.autocast("cpu", enabled=False):
                return self._fused(x.float(), lengths, states and tuple(value.float() for value in states))
        given: Any = states if states is None or len(states) > 1 else states[0]
        if lengths is None:
            return self.rnn(x, given)
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        output, last = self.rnn(packed, given)
        return pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])[0], last

    def _is_shortened(self, x: Tensor) -> bool:
        """Whether autocast would have weights in single precision multiplied in bfloat16 on a CPU."""
        single = x.is_cpu and self.rnn.weight_ih_l0.dtype == torch.float32
        return single and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16

    def _layer(
        self, cell: Cell, end: str, x: Tensor, lengths: Tensor | None, first: State, *, backward: bool
    ) -> tuple[Tensor, State]:
        """One direction of one layer: x (T, B, I) to h (T, B, H) and the states (B, H) behind the last steps."""
        own = {name: getattr(self.rnn, f"{name}_{end}") for name in self._names(cell)}
        if backward:
            x = _reversed(x, lengths)
        biases = (own["bias_ih"], own["bias_hh"]) if cell.inner_bias else (own["bias_ih"] + own["bias_hh"],)
        step, vectors = cell.step, [own[name] for name in cell.vectors]
        if self.cfg.layer_norm:
            assert cell.normed is not None
            step, products = cell.normed, input_products(x, own["weight_ih"], None)
            others = (own[name] for name in cell.normed_vectors)
            weights = (own["norm_ih"], own["norm_hh"], *biases, *vectors, *others)
        else:
            products = input_products(x, own["weight_ih"], biases[0])
            weights = (*biases[1:], *vectors)
        mask = None
        if self.training and self.cfg.recurrent_drop_rate:
            mask = F.dropout(torch.ones_like(first[0], dtype=x.dtype), self.cfg.recurrent_drop_rate)
        history = recur(step, products, own["weight_hh"], first, weights, mask=mask)
        if lengths is None:
            last = tuple(values[-1] for values in history)
            h = history[0]
        else:
            rows = torch.arange(x.shape[1], device=x.device)
            last = tuple(values[lengths - 1, rows] for values in history)
            h = history[0].masked_fill(is_padding(lengths, x.shape[0]).T[:, :, None], 0)
        return _reversed(h, lengths) if backward else h, last

    def _names(self, cell: Cell) -> Iterator[str]:
        yield from ("weight_ih", "weight_hh", "bias_ih", "bias_hh", *cell.vectors)
        if self.cfg.layer_norm:
            yield from ("norm_ih", "norm_hh", *cell.normed_vectors)

    def _drop(self, x: Tensor) -> Tensor:
        """Dropout between layers, (T, B, N)."""
        if not self.cfg.variational:
            return F.dropout(x, self.cfg.drop_rate)
        return x * F.dropout(torch.ones_like(x[:1]), self.cfg.drop_rate)


def count_parameters(cfg: RecurrentConfig, gates: int, vectors: int = 0) -> int:
    """Of all layers and the head: g (HI + HH + 2H) a layer and direction, as torch counts, plus vectors of H."""
    hidden = cfg.hidden_size
    layers = sum(gates * hidden * (width + hidden + 2) + vectors * hidden for _, width in cfg.places)
    return layers + cfg.vocab_size * cfg.input_size + (cfg.num_features + 1) * cfg.num_classes


def count_macs(cfg: RecurrentConfig, gates: int, steps: int) -> int:
    """Multiply-adds of the products of `steps` steps and of the head, once."""
    hidden = cfg.hidden_size
    each = sum(gates * hidden * (width + hidden) for _, width in cfg.places)
    return steps * each + cfg.num_features * cfg.num_classes


def is_padding(lengths: Tensor, steps: int) -> Tensor:
    """(B, T), true behind each sequence's end."""
    return torch.arange(steps, device=lengths.device)[None, :] >= lengths[:, None]


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence of x (T, B, N) back to front, its padding left behind it."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device)[:, None]
    order = torch.where(steps < lengths, lengths - 1 - steps, steps)  # (T, B)
    return x.gather(0, order[:, :, None].expand(x.shape))


def checked_lengths(lengths: Tensor | Sequence[int], x: Tensor) -> Tensor:
    lengths = torch.as_tensor(lengths, device=x.device)
    if lengths.shape != x.shape[:1] or lengths.is_floating_point():
        raise UsageError(f"lengths are {len(x)} whole numbers, one a sequence, and these are {tuple(lengths.shape)}")
    if torch.compiler.is_compiling() or lengths.device.type == "meta":
        return lengths
    bad = ((lengths < 1) | (lengths > x.shape[1])).nonzero()
    if len(bad):
        at = int(bad[0])
        raise UsageError(f"lengths[{at}] is {int(lengths[at])}; a sequence of these has from 1 to {x.shape[1]} steps")
    return lengths
