"""LRCN: a convolutional network looks at every frame of a clip, a recurrent one remembers what it saw.

Donahue, Hendricks, Rohrbach, Venugopalan, Guadarrama, Saenko & Darrell, *Long-term Recurrent Convolutional Networks for
Visual Recognition and Description*, 2015 (arXiv:1411.4389): the features of each frame x_t, which need nothing of the
other frames, go into a recurrent network, and there is a prediction at every step (section 3):

    z_t = f_W(phi_V(x_t), z_{t-1})              phi_V the convolutional network, f_W the recurrent one
    P(y_t) = softmax(W_z z_t + b_z)             (equation 9)

For a whole clip the predictions of its frames are averaged (section 4). `cell="none"` leaves the recurrence out: the
paper's single-frame baseline, which sees each frame alone.

phi_V is a stage for each of `channels`: a convolution of 3 x 3 pixels, batch normalisation, ReLU, a pool of 2 x 2; the
mean over the last map is a frame's features.

Shapes: B clips, T frames, C channels, H W pixels, F features of a frame, D directions, K classes.
Deviations from the paper: a small convolutional network trained from scratch, for frames of any size, in place of
CaffeNet with its weights of ImageNet; f_W may be a GRU or an RNN too, may have more layers, and may read the clip
backwards as well.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from corinth.errors import UsageError
from corinth.layers import checks
from corinth.layers.init import scaled_normal_
from corinth.layers.recurrent import Recurrent, RecurrentConfig, checked_lengths, is_padding
from corinth.layers.recurrent import count_macs as stack_macs
from corinth.layers.recurrent import count_parameters as stack_parameters
from corinth.models.recurrent.gru import GRU
from corinth.models.recurrent.lstm import LSTM, LSTMConfig
from corinth.models.recurrent.rnn import RNN, RNNConfig
from corinth.registry import Card, register

CellName = Literal["lstm", "gru", "rnn", "none"]
CELLS: dict[str, tuple[type[Recurrent], type[RecurrentConfig], int]] = {  # with how many gates
    "lstm": (LSTM, LSTMConfig, 4),
    "gru": (GRU, RecurrentConfig, 3),
    "rnn": (RNN, RNNConfig, 1),
}
AT_ONCE = 1024  # frames whose maps are held together where no gradient is needed


@dataclass(frozen=True, kw_only=True)
class LRCNConfig:
    """A convolutional network for the frames and a recurrent one for their order."""

    channels: tuple[int, ...] = (32, 64, 128, 128)  # filters of each stage; the last are F
    cell: CellName = "lstm"  # none: each frame alone
    hidden_size: int = 128
    num_layers: int = 1  # of the recurrent network
    bidirectional: bool = False
    drop_rate: float = 0.0  # of the features, between recurrent layers, and before the head
    in_chans: int = 3
    num_classes: int = 10  # outputs for each frame; 0: what the head would see

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", checks.entries("channels", self.channels))
        if not self.channels:
            raise ValueError("channels () needs at least one stage, such as (32, 64)")
        for width in self.channels:
            checks.whole("channels", width, 1)
        checks.one_of("cell", self.cell, get_args(CellName))
        for name in ("hidden_size", "num_layers"):
            checks.whole(name, getattr(self, name), 1)
        checks.switch("bidirectional", self.bidirectional)
        checks.head_fields(self)
        if self.cell == "none" and self.bidirectional:
            raise ValueError("bidirectional True is for a recurrent cell, and cell is 'none'; leave it out")

    @property
    def min_size(self) -> int:
        """Pixels per side of the smallest frames: every stage halves them."""
        return int(2 ** len(self.channels))

    @property
    def smallest_input(self) -> tuple[int, ...]:
        """(T, C, H, W)."""
        return (1, self.in_chans, self.min_size, self.min_size)

    @property
    def stack(self) -> RecurrentConfig | None:
        """The recurrent layers."""
        if self.cell == "none":
            return None
        return CELLS[self.cell][1](
            input_size=self.channels[-1],
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            drop_rate=self.drop_rate,
            num_classes=0,
        )

    @property
    def num_features(self) -> int:
        """What the head sees of each frame: D x H, or F."""
        return self.channels[-1] if self.stack is None else self.stack.num_features


class LRCN(nn.Module):
    def __init__(self, cfg: LRCNConfig) -> None:
        super().__init__()
        self.cfg = cfg
        stages, chans = [], cfg.in_chans
        for width in cfg.channels:
            conv = nn.Conv2d(chans, width, 3, padding=1, bias=False)
            stages.append(nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)))
            chans = width
        self.cnn = nn.Sequential(*stages)
        scaled_normal_(self.cnn)
        self.recurrent: Recurrent | None = None if cfg.stack is None else CELLS[cfg.cell][0](cfg.stack)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.reset_head(cfg.num_classes)

    def reset_head(self, num_classes: int) -> None:
        """A fresh head for `num_classes`; 0 removes it."""
        self.cfg = dataclasses.replace(self.cfg, num_classes=num_classes)
        self.head = nn.Linear(self.cfg.num_features, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Tensor:
        """Clips (B, T, C, H, W), `lengths` as in `forward_features`, to logits (B, T, num_classes)."""
        features = self.forward_features(x, lengths)
        return self.head(self.dropout(features)) if self.cfg.num_classes else features

    def forward_features(self, x: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Tensor:
        """Clips (B, T, C, H, W) to the recurrent output at every step (B, T, D x H), with cell "none" the features
        (B, T, F). `lengths` (B,), from 1 to T, says how many frames of each clip count: what is behind them changes
        nothing, and the output there is zero."""
        if x.ndim != 5 or x.shape[2] != self.cfg.in_chans:
            wanted = f"(B, T, {self.cfg.in_chans}, H, W)"
            raise UsageError(f"clips of shape {tuple(x.shape)} do not fit this network; it needs {wanted}")
        if not x.shape[1]:
            raise UsageError("the clips have no frames; each needs at least one")
        checks.at_least(x, self.cfg.min_size)
        ends = None if lengths is None else checked_lengths(lengths, x)
        features = self.frame_features(x, ends)
        if self.recurrent is None:
            return features
        return self.recurrent.forward_features(self.dropout(features), ends)[0]

    def frame_features(self, x: Tensor, ends: Tensor | None) -> Tensor:
        """phi_V: (B, T, F), of each frame alone. Padded frames are not looked at, so that they are in no statistic of
        the batch normalisation."""
        if ends is None:
            return self._look(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        padded = is_padding(ends, x.shape[1])
        if torch.compiler.is_compiling():  # whose shapes may not depend on lengths
            seen = x.masked_fill(padded[:, :, None, None, None], 0).flatten(0, 1)
            return self._look(seen).unflatten(0, x.shape[:2]).masked_fill(padded[:, :, None], 0)
        features = self._look(x[~padded])
        found = features.new_zeros(*x.shape[:2], features.shape[1])
        found[~padded] = features
        return found

    def _look(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) to (N, F); where nothing has to be kept for a gradient, `AT_ONCE` frames at a time."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.cnn(frames).mean((2, 3))
        return torch.cat([self.cnn(part).mean((2, 3)) for part in frames.split(AT_ONCE)])


def count_parameters(cfg: LRCNConfig) -> int:
    """9 CF + 2F of a stage, the recurrent layers as in recurrent.py, the head."""
    inputs = (cfg.in_chans, *cfg.channels)
    stages = sum(9 * chans * width + 2 * width for chans, width in zip(inputs, cfg.channels))
    layers = 0 if cfg.stack is None else stack_parameters(cfg.stack, CELLS[cfg.cell][2])
    return stages + layers + (cfg.num_features + 1) * cfg.num_classes


def count_macs(cfg: LRCNConfig, steps: int, height: int, width: int) -> int:
    """Of a clip of so many frames: 9 CF a pixel in each stage, the recurrent layers, the head at every step."""
    inputs = (cfg.in_chans, *cfg.channels)
    areas = [(height >> i) * (width >> i) for i in range(len(cfg.channels))]
    frame = sum(9 * chans * filters * area for chans, filters, area in zip(inputs, cfg.channels, areas))
    layers = 0 if cfg.stack is None else stack_macs(cfg.stack, CELLS[cfg.cell][2], steps)
    return steps * (frame + cfg.num_features * cfg.num_classes) + layers


RECIPE: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 2e-3,
    "weight_decay": 0.01,
    "batch_size": 32,
    "eval_batch_size": 128,
    "clip_norm": 1.0,
    "warmup": 0.05,
    "options": {"drop_rate": 0.2},
}
SYNONYMS = {
    "cnn, recurrent": "phi_V, f_W (paper); encoder and decoder, CNN-LSTM, ConvNet + LSTM elsewhere",
    "cell none": "the paper's single frame model",
}
DEVIATIONS = ("a small network of four stages, trained from scratch, in place of CaffeNet with weights of ImageNet",)
SIZE = (16, 3, 32, 32)
for name, options in (
    ("lrcn", LRCNConfig()),
    ("bilrcn", LRCNConfig(bidirectional=True)),
    ("lrcn_single_frame", LRCNConfig(cell="none")),
):
    register(
        name,
        LRCN,
        options,
        Card(
            params=count_parameters(options),
            macs=count_macs(options, SIZE[0], *SIZE[2:]),
            paper="Long-term Recurrent Convolutional Networks for Visual Recognition and Description",
            year=2015,
            arxiv="1411.4389",
            input_size=SIZE,
            family="recurrent",
            tasks=("frame-classification",),
            recipe=RECIPE,
            deviations=DEVIATIONS + (("reads the clip backwards too",) if options.bidirectional else ()),
            synonyms=SYNONYMS,
        ),
    )
