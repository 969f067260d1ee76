"""A text from a class: the LSTM of Show and Tell, told a class where that is shown a picture.

Vinyals, Toshev, Bengio & Erhan, *Show and Tell: A Neural Image Caption Generator*, 2015 (arXiv:1411.4555), equations
10 to 12, with the embedding of a class in place of what a convolutional network makes of a picture: one class to many
words. What is learnt is the distribution of the texts of each class, which can be drawn from.

    x_{-1} = W_k k                                    the class, once
    x_t = W_e S_t,  t in 0 ... N - 1                  words, S_0 the token of the beginning
    p_{t+1} = LSTM(x_t),  t in 0 ... N - 1

Shapes: B texts, K classes, T steps, E embedding, V words.
Deviations from the paper: there is no picture; the sizes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from corinth.layers import checks
from corinth.models.recurrent.show_and_tell import (
    EMBEDDING_SPREAD,
    PAPER,
    RECIPE,
    STEPS,
    Decoder,
    DecoderConfig,
    Writer,
    count_macs,
    count_parameters,
)
from corinth.registry import Card, register


@dataclass(frozen=True, kw_only=True)
class LabelDecoderConfig(DecoderConfig):
    """A decoder that is told one of `num_classes`."""

    num_classes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.whole("num_classes", self.num_classes, 1)


class LabelDecoder(Writer):
    """Classes to texts."""

    def __init__(self, cfg: LabelDecoderConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.label_embed = nn.Embedding(cfg.num_classes, cfg.embed_dim)
        self.decoder = Decoder(cfg)
        nn.init.normal_(self.label_embed.weight, 0.0, EMBEDDING_SPREAD)

    def first(self, inputs: Tensor) -> Tensor:
        """Classes int64 (B,) to x_{-1}, (B, E)."""
        return self.label_embed(checks.tokens(inputs[:, None], self.cfg.num_classes, "class"))[:, 0]

    def example_inputs(self, batch: int, steps: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Made-up arguments of `forward`, to count and to time with: classes, and texts of so many steps."""
        texts = torch.zeros(batch, steps, dtype=torch.int64, device=device)
        return torch.zeros(batch, dtype=torch.int64, device=device), texts


CONFIG = LabelDecoderConfig()
register(
    "label_decoder",
    LabelDecoder,
    CONFIG,
    Card(
        params=CONFIG.num_classes * CONFIG.embed_dim + count_parameters(CONFIG),
        macs=count_macs(CONFIG, STEPS),
        paper=PAPER,
        year=2015,
        arxiv="1411.4555",
        input_size=(STEPS,),
        family="recurrent",
        tasks=("text-from-label",),
        recipe=RECIPE,
        deviations=("a class where the paper has a picture", "smaller sizes than the paper's 512"),
    ),
)
