"""Show and Tell: a convolutional network looks at a picture, an LSTM says what is there.

Vinyals, Toshev, Bengio & Erhan, *Show and Tell: A Neural Image Caption Generator*, 2015 (arXiv:1411.4555): the encoder
of a translation's network becomes a convolutional one. What it makes of the picture is the first input of the LSTM,
and only the first; the words follow, and each step gives the probabilities of the next:

    x_{-1} = CNN(I)                                   the picture, once (equation 10)
    x_t = W_e S_t,  t in 0 ... N - 1                  words, S_0 the token of the beginning (equation 11)
    p_{t+1} = LSTM(x_t),  t in 0 ... N - 1            (equation 12)

CNN(I) is the last map of `backbone`, its mean over places, a linear layer and batch norm. `Decoder` is all that comes
behind; it writes to whatever vector it is given first (label_decoder.py gives it that of a class).

Shapes: B pictures, C channels, H W pixels, R captions, T steps, E embedding, N hidden units, L layers, V words.
Deviations from the paper: the sizes; a residual network in place of GoogLeNet's, trained with the decoder from the
beginning unless weights are given; batch norm of the picture's vector, without which trainings from scratch began by
not looking: the vector grew to many times the length of a word's and was the same for all pictures
(benchmarks/README.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.errors import UsageError
from corinth.layers import checks
from corinth.layers.features import Features, find_maps
from corinth.layers.recurrent import RecurrentConfig
from corinth.layers.recurrent import count_macs as stack_macs
from corinth.layers.recurrent import count_parameters as stack_parameters
from corinth.models.recurrent.lstm import LSTM, LSTMConfig
from corinth.registry import Card, configure, create_model, register

EMBEDDING_SPREAD = 0.1
STEPS = 12  # words of a caption that is counted and timed


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Of what writes."""

    vocab_size: int = 4000  # words, with the tokens of beginning and end
    embed_dim: int = 256
    hidden_size: int = 256
    num_layers: int = 1
    drop_rate: float = 0.0  # of words, between layers, and before the output

    def __post_init__(self) -> None:
        for name in ("vocab_size", "embed_dim", "hidden_size", "num_layers"):
            checks.whole(name, getattr(self, name), 1)
        checks.share("drop_rate", self.drop_rate)

    @property
    def stack(self) -> RecurrentConfig:
        """The LSTM's layers."""
        return LSTMConfig(
            input_size=self.embed_dim,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            drop_rate=self.drop_rate,
            num_classes=0,
        )


@dataclass(frozen=True, kw_only=True)
class ShowAndTellConfig(DecoderConfig):
    """An encoder of pictures and a decoder."""

    backbone: str = "resnet20_cifar10"  # a registered classifier of images of any size, whose last map is taken
    in_chans: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.backbone, str) or not self.backbone:
            raise ValueError(f"backbone {self.backbone!r} is no name of an architecture, such as 'resnet18'")
        checks.whole("in_chans", self.in_chans, 1)

    @property
    def min_size(self) -> int:
        return configure(self.backbone).min_size


@dataclass(frozen=True)
class DecoderState:
    """What a decoder knows between two words, for B texts: h and c, each (L, B, N)."""

    hidden: tuple[Tensor, ...]

    def select(self, rows: Tensor) -> "DecoderState":
        """The state of other rows of the batch, int64 (M,); one may come more than once."""
        return DecoderState(tuple(value.index_select(1, rows) for value in self.hidden))


class Decoder(nn.Module):
    """An LSTM that reads a vector and then words, and foretells the words."""

    def __init__(self, cfg: DecoderConfig) -> None:
        super().__init__()
        self.vocab_size = cfg.vocab_size
        self.embed = nn.Embedding(cfg.vocab_size, cfg.embed_dim)
        self.lstm = LSTM(cfg.stack)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.head = nn.Linear(cfg.hidden_size, cfg.vocab_size)
        nn.init.normal_(self.embed.weight, 0.0, EMBEDDING_SPREAD)

    def forward_features(self, first: Tensor, target: Tensor) -> Tensor:
        """What the head sees, (B, T, N), of the words `target` (B, T) behind the vectors `first` (B, E)."""
        inputs = torch.cat((first[:, None], self._words(target)), dim=1)
        return self.dropout(self.lstm.forward_features(inputs)[0][:, 1:])

    def forward(self, first: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V) of the word behind each of `target`, which begins with the token of the beginning."""
        return self.head(self.forward_features(first, target))

    def begin(self, first: Tensor) -> DecoderState:
        """The state behind the vectors (B, E), before any word."""
        return DecoderState(tuple(self.lstm.forward_features(first[:, None])[1]))

    def step(self, state: DecoderState, token: Tensor) -> tuple[Tensor, DecoderState]:
        """Logits (B, V) of the next word behind `token` (B,), and the state behind it."""
        output, hidden = self.lstm.forward_features(self._words(token[:, None]), None, state.hidden)
        return self.head(output[:, 0]), DecoderState(tuple(hidden))

    def _words(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.embed(checks.tokens(tokens, self.vocab_size, "target")))


class Writer(nn.Module, ABC):
    """A network that makes a vector of each of its inputs, and texts of that. A subclass has `first`."""

    decoder: Decoder

    @abstractmethod
    def first(self, inputs: Tensor) -> Tensor:
        """What the decoder reads before the words, (B, E)."""

    def forward(self, inputs: Tensor, target: Tensor, rows: Tensor | None = None) -> Tensor:
        """Logits (R, T, V) of the word behind each of `target` (R, T), which begins with the token of the beginning.

        Text r is about input `rows`[r], int64 (R,); without `rows` there is one for each.
        """
        return self.decoder.head(self.forward_features(inputs, target, rows))

    def forward_features(self, inputs: Tensor, target: Tensor, rows: Tensor | None = None) -> Tensor:
        """What the head sees, (R, T, N)."""
        first = self.first(inputs)
        return self.decoder.forward_features(first if rows is None else first.index_select(0, rows), target)

    def encode(self, inputs: Tensor) -> DecoderState:
        """The state in which the decoder begins."""
        return self.decoder.begin(self.first(inputs))

    def decode_step(self, state: DecoderState, token: Tensor) -> tuple[Tensor, DecoderState]:
        """Logits (B, V) of the next word behind `token` (B,), and the state behind it."""
        return self.decoder.step(state, token)


class ShowAndTell(Writer):
    """Pictures to captions."""

    def __init__(self, cfg: ShowAndTellConfig) -> None:
        super().__init__()
        self.cfg = cfg
        body: Any = create_model(cfg.backbone, in_chans=cfg.in_chans)
        if hasattr(body.cfg, "img_size"):
            raise UsageError(f"backbone {cfg.backbone} works at one size of images only; use another, such as resnet18")
        self.backbone = Features(body, [max(find_maps(body)[0])])
        self.project = nn.Linear(self.backbone.channels[0], cfg.embed_dim)
        self.norm = nn.BatchNorm1d(cfg.embed_dim)
        self.decoder = Decoder(cfg)

    def first(self, inputs: Tensor) -> Tensor:
        """Pictures (B, C, H, W) to x_{-1}, (B, E); one alone by the running statistics, in training too."""
        if inputs.ndim != 4:
            raise UsageError(f"pictures are (B, C, H, W), and these are {tuple(inputs.shape)}")
        checks.at_least(inputs, self.cfg.min_size)
        seen, norm = self.project(self.backbone(inputs)[0].mean(dim=(2, 3))), self.norm
        if norm.training and len(seen) == 1:  # what is left of a batch whose other pictures are damaged
            return F.batch_norm(seen, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        return norm(seen)

    def example_inputs(
        self, batch: int, channels: int, height: int, width: int, device: torch.device | str
    ) -> tuple[Tensor, Tensor]:
        """Made-up arguments of `forward`, to count and to time with: pictures and captions of `STEPS` words."""
        captions = torch.zeros(batch, STEPS, dtype=torch.int64, device=device)
        return torch.zeros(batch, channels, height, width, device=device, dtype=self.project.weight.dtype), captions


def count_parameters(cfg: DecoderConfig) -> int:
    """Of the decoder: words, LSTM and head."""
    words = cfg.vocab_size * (cfg.embed_dim + cfg.hidden_size + 1)
    return words + stack_parameters(cfg.stack, LSTM.cell.gates)


def count_macs(cfg: DecoderConfig, steps: int) -> int:
    """Multiply-adds of the decoder, of a text of so many steps and the vector before it."""
    return stack_macs(cfg.stack, LSTM.cell.gates, steps + 1) + steps * cfg.hidden_size * cfg.vocab_size


RECIPE: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 2e-3,
    "weight_decay": 0.01,
    "batch_size": 64,
    "clip_norm": 1.0,
    "warmup": 0.05,
    "options": {"drop_rate": 0.3},
}
SYNONYMS = {
    "embed_dim, hidden_size": "embedding_size, num_lstm_units (authors' code)",
    "project": "image_embedding (authors' code), embed of the encoder (tutorials)",
    "decoder.embed": "seq_embedding, W_e (paper)",
}
PAPER = "Show and Tell: A Neural Image Caption Generator"
DEVIATIONS = (
    "smaller sizes than the paper's 512",
    "a residual network in place of GoogLeNet's",
    "batch norm of x_{-1}, without which trainings from scratch began by not looking at pictures",
)


def _card(cfg: ShowAndTellConfig, side: int, encoder: Sequence[int], recipe: dict[str, Any]) -> Card:
    """`encoder` has the backbone's parameters, its multiply-adds at that side, and the width of its last map."""
    params, macs, width = encoder
    return Card(
        params=params + (width + 3) * cfg.embed_dim + count_parameters(cfg),
        macs=macs + width * cfg.embed_dim + count_macs(cfg, STEPS),
        paper=PAPER,
        year=2015,
        arxiv="1411.4555",
        input_size=(3, side, side),
        family="recurrent",
        tasks=("captioning",),
        published={"BLEU-4 on MS COCO": "27.7 (paper, table 1, GoogLeNet trained on ImageNet)"},
        recipe=RECIPE | recipe,
        deviations=DEVIATIONS,
        synonyms=SYNONYMS,
    )


SMALL = ShowAndTellConfig()
LARGE = ShowAndTellConfig(backbone="resnet18", embed_dim=512, hidden_size=512)
register(
    "show_and_tell",
    ShowAndTell,
    SMALL,
    _card(SMALL, 48, (269_072, 91_238_400, 64), {"augmentation": {"crop_padding": 0.0625}}),
)
register(
    "show_and_tell_resnet18",
    ShowAndTell,
    LARGE,
    _card(LARGE, 224, (11_176_512, 1_813_561_344, 512), {"lr": 1e-3, "augmentation": {"crop_padding": 0.0625}}),
)
