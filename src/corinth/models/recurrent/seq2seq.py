"""Sequence to sequence: one recurrent network reads a sentence, another writes its translation.

Sutskever, Vinyals & Le, *Sequence to Sequence Learning with Neural Networks*, 2014 (arXiv:1409.3215): the state behind
the last word is all that the decoder gets to know of the source.
Bahdanau, Cho & Bengio, *Neural Machine Translation by Jointly Learning to Align and Translate*, 2015 (arXiv:1409.0473):
for each word the decoder looks at all states h_j of an encoder in both directions, weighed by attention (attention.py)
with its own state before it:

    s_0 = tanh(W_s <-h_1)                             first state, from the backward encoder's at the first word (A.2.2)
    c_i = attention(s_{i-1}, h)                       context (equations 5 and 6)
    s_i = f(s_{i-1}, y_{i-1}, c_i)                    (section 3.1)
    p(y_i) = softmax(W_o maxout(U_o s_i + V_o y_{i-1} + C_o c_i))     (equation 4, A.2.2)

Luong, Pham & Manning, *Effective Approaches to Attention-based Neural Machine Translation*, 2015 (arXiv:1508.04025):
the decoder looks with the state behind the step, so that all steps of a training sentence are computed at once:

    h_t = f(h_{t-1}, y_{t-1})                         with input feeding f(h_{t-1}, [y_{t-1}; h~_{t-1}]) (section 3.3)
    c_t = attention(h_t, h)                           (section 3.1)
    h~_t = tanh(W_c [c_t; h_t])                       (equation 5)
    p(y_t) = softmax(W_s h~_t)                        (equation 6)

f is a GRU or an LSTM, in `num_layers` layers. Decoders read the words that they shall have written (teacher forcing).

Shapes: B batch, S steps of the source, T of the target, E embedding, H hidden units, M width of the encoder's output,
L layers, V words of the target.
Deviations from the papers: the sizes; Bahdanau's readout sees s_i, as equation 4 has it, where A.2.2 has s_{i-1}; the
maxout layer is E wide; Luong's encoder may be one in both directions, and the decoder then begins as Bahdanau's.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from corinth.layers import attention, checks
from corinth.layers.attention import Attention, Score
from corinth.layers.recurrence import input_products
from corinth.layers.recurrent import Recurrent, RecurrentConfig
from corinth.layers.recurrent import count_macs as stack_macs
from corinth.layers.recurrent import count_parameters as stack_parameters
from corinth.models.recurrent.gru import GRU
from corinth.models.recurrent.lstm import LSTM, LSTMConfig
from corinth.registry import Card, register

CellName = Literal["gru", "lstm"]
AttentionName = Literal["none", "additive", "dot", "general", "concat"]
CELLS: dict[str, tuple[type[Recurrent], type[RecurrentConfig]]] = {
    "gru": (GRU, RecurrentConfig),
    "lstm": (LSTM, LSTMConfig),
}
EMBEDDING_SPREAD = 0.1


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig:
    """An encoder and a decoder. `min_size` steps is the shortest source."""

    source_vocab_size: int = 8000
    target_vocab_size: int = 8000
    embed_dim: int = 256
    hidden_size: int = 256  # of the decoder, and of each direction of the encoder
    num_layers: int = 1
    cell: CellName = "gru"
    bidirectional: bool = False  # the encoder
    reverse_source: bool = False  # read from its end, as Sutskever et al. do: its beginning is then nearest
    attention: AttentionName = "none"  # additive: Bahdanau's decoder; dot, general, concat: Luong's, with that score
    input_feeding: bool = False  # of Luong's: each step sees the last one's attentional state
    drop_rate: float = 0.0  # of embeddings, between layers, and before the output

    def __post_init__(self) -> None:
        for name in ("source_vocab_size", "target_vocab_size", "embed_dim", "hidden_size", "num_layers"):
            checks.whole(name, getattr(self, name), 1)
        for name in ("bidirectional", "reverse_source", "input_feeding"):
            checks.switch(name, getattr(self, name))
        checks.share("drop_rate", self.drop_rate)
        checks.one_of("cell", self.cell, get_args(CellName))
        checks.one_of("attention", self.attention, get_args(AttentionName))
        if self.input_feeding and self.attention in ("none", "additive"):
            raise ValueError(f"input_feeding is for attention dot, general or concat, and it is {self.attention!r}")
        if self.attention == "dot" and self.bidirectional:
            raise ValueError(
                "attention 'dot' compares states as they are, and those of a bidirectional encoder are twice "
                "as wide as the decoder's; use general"
            )

    @property
    def memory_size(self) -> int:
        """M."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def fed_size(self) -> int:
        """What the decoder's input has beside a word: Bahdanau's context, or what input feeding hands on."""
        return self.memory_size if self.attention == "additive" else self.hidden_size if self.input_feeding else 0

    @property
    def readout_size(self) -> int:
        return self.embed_dim if self.attention == "additive" else self.hidden_size

    @property
    def score(self) -> Score | None:
        return None if self.attention == "none" else "additive" if self.attention == "concat" else self.attention

    def stack(self, role: Literal["encoder", "decoder"]) -> RecurrentConfig:
        """The recurrent layers of one of the two."""
        encodes = role == "encoder"
        return CELLS[self.cell][1](
            input_size=self.embed_dim + (0 if encodes else self.fed_size),
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=encodes and self.bidirectional,
            drop_rate=self.drop_rate,
            num_classes=0,
        )


@dataclass(frozen=True)
class DecoderState:
    """What a decoder knows between two words, for B sentences."""

    hidden: tuple[Tensor, ...]  # (L, B, H), of an LSTM also c
    memory: Tensor  # (B, S, M)
    keys: Tensor | None  # (B, S, N), without attention none
    padding: Tensor | None  # (B, S), true behind the end of a source
    fed: Tensor | None = None  # (B, H), what input feeding hands on
    weights: Tensor | None = None  # (B, S), where the last step looked

    def select(self, rows: Tensor) -> "DecoderState":
        """The state of other rows of the batch, int64 (N,); one may come more than once."""
        values: dict[str, Any] = {"hidden": tuple(value.index_select(1, rows) for value in self.hidden)}
        for name in ("memory", "keys", "padding", "fed", "weights"):
            value = getattr(self, name)
            values[name] = None if value is None else value.index_select(0, rows)
        return DecoderState(**values)


class Seq2Seq(nn.Module):
    """Tokens to tokens."""

    def __init__(self, cfg: Seq2SeqConfig) -> None:
        super().__init__()
        self.cfg = cfg
        make = CELLS[cfg.cell][0]
        self.source_embed = nn.Embedding(cfg.source_vocab_size, cfg.embed_dim)
        self.encoder = make(cfg.stack("encoder"))
        states = make.cell.states
        bridges = cfg.num_layers * states if cfg.bidirectional else 0
        self.bridge = nn.ModuleList(nn.Linear(cfg.hidden_size, cfg.hidden_size) for _ in range(bridges))
        self.target_embed = nn.Embedding(cfg.target_vocab_size, cfg.embed_dim)
        self.decoder = make(cfg.stack("decoder"))
        score = cfg.score
        self.attention = None if score is None else Attention(score, cfg.hidden_size, cfg.memory_size, cfg.hidden_size)
        self.readout: nn.Linear | None = None
        if cfg.attention == "additive":
            self.readout = nn.Linear(cfg.hidden_size + cfg.embed_dim + cfg.memory_size, 2 * cfg.readout_size)
        elif score is not None:
            self.readout = nn.Linear(cfg.memory_size + cfg.hidden_size, cfg.readout_size, bias=False)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.head = nn.Linear(cfg.readout_size, cfg.target_vocab_size)
        for embedding in (self.source_embed, self.target_embed):
            nn.init.normal_(embedding.weight, 0.0, EMBEDDING_SPREAD)

    def forward(self, source: Tensor, lengths: Tensor | Sequence[int] | None, target: Tensor) -> Tensor:
        """Logits (B, T, V) of the word behind each of `target` (B, T), which begins with the token of the beginning.

        `source` (B, S) are tokens, of which `lengths` (B,) count; what is behind changes nothing.
        """
        return self.head(self.dropout(self.forward_features(source, lengths, target)[0]))

    def forward_features(
        self, source: Tensor, lengths: Tensor | Sequence[int] | None, target: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """What the head sees (B, T, R), and where each step looked, (B, T, S), None without attention."""
        output, weights, _ = self._decode(self.encode(source, lengths), target)
        return output, weights

    def encode(self, source: Tensor, lengths: Tensor | Sequence[int] | None = None) -> DecoderState:
        """Source tokens (B, S) to the state in which the decoder begins."""
        source = checks.tokens(source, self.cfg.source_vocab_size, "source", lengths)
        ends = None if lengths is None else torch.as_tensor(lengths, device=source.device)
        steps = torch.arange(source.shape[1], device=source.device)
        padding = None if ends is None else steps >= ends[:, None]
        order: Tensor | None = None
        if self.cfg.reverse_source:
            order = steps.flip(0).expand(source.shape) if ends is None else ends[:, None] - 1 - steps
            order = torch.where(order >= 0, order, steps)
            source = source.gather(1, order)
        embedded = self.dropout(self.source_embed(source))
        memory, last = self.encoder.forward_features(embedded, lengths)
        if order is not None and self.attention is not None:  # as the words stand, for whoever reads the weights
            memory = memory.gather(1, order[:, :, None].expand(memory.shape))
        hidden = last if isinstance(last, tuple) else (last,)
        if self.bridge:
            hidden = tuple(
                torch.stack(
                    [torch.tanh(self.bridge[i * len(value) // 2 + layer](h)) for layer, h in enumerate(value[1::2])]
                )
                for i, value in enumerate(hidden)
            )
        keys = None if self.attention is None else self.attention.keys(memory)
        fed = hidden[0].new_zeros(len(source), self.cfg.hidden_size) if self.cfg.input_feeding else None
        return DecoderState(hidden, memory, keys, padding, fed)

    def decode_step(self, state: DecoderState, token: Tensor) -> tuple[Tensor, DecoderState]:
        """Logits (B, V) of the next word behind `token` (B,), and the state behind it."""
        output, weights, state = self._decode(state, token[:, None])
        last = None if weights is None else weights[:, 0]
        return self.head(output[:, 0]), dataclasses.replace(state, weights=last)

    def _decode(self, state: DecoderState, target: Tensor) -> tuple[Tensor, Tensor | None, DecoderState]:
        target = checks.tokens(target, self.cfg.target_vocab_size, "target")
        words = self.dropout(self.target_embed(target))  # (B, T, E)
        if self.cfg.fed_size:
            return self._decode_stepwise(state, words)
        hidden: Any = state.hidden if len(state.hidden) > 1 else state.hidden[0]
        output, last = self.decoder.forward_features(words, None, hidden)
        state = dataclasses.replace(state, hidden=last if isinstance(last, tuple) else (last,))
        if self.attention is None:
            return output, None, state
        context, weights = self.attention(output, state.keys, state.memory, state.padding)
        return self._attentional(context, output), weights, state

    def _attentional(self, context: Tensor, h: Tensor) -> Tensor:
        """Luong, equation 5."""
        assert self.readout is not None
        return torch.tanh(self.readout(torch.cat((context, h), dim=-1)))

    def _decode_stepwise(self, state: DecoderState, words: Tensor) -> tuple[Tensor, Tensor, DecoderState]:
        """Decoders whose step needs what the attention of that step, or of the one before it, saw."""
        assert self.attention is not None
        assert self.readout is not None
        rnn: Any = self.decoder.rnn
        by_word, by_fed = rnn.weight_ih_l0.split((self.cfg.embed_dim, self.cfg.fed_size), dim=1)
        inner = self.decoder.cell.inner_bias
        bias = rnn.bias_ih_l0 if inner else rnn.bias_ih_l0 + rnn.bias_hh_l0
        products = input_products(words.transpose(0, 1), by_word, bias)  # (T, B, G), all words at once
        layers = list(zip(*(value.unbind() for value in state.hidden)))
        fed, looks = state.fed, self.cfg.attention == "additive"
        tops, seen, weights = [], [], []
        for product in products:
            if looks:
                context, weight = self._look(layers[-1][0], state)
                fed = context
                seen.append(context)
            assert fed is not None
            layers = self._advance(product + fed @ by_fed.T, layers)
            if not looks:
                context, weight = self._look(layers[-1][0], state)
                fed = self._attentional(context, layers[-1][0])
            tops.append(layers[-1][0] if looks else fed)
            weights.append(weight)
        output = torch.stack(tops, dim=1)
        if looks:
            parts = self.readout(torch.cat((output, words, torch.stack(seen, dim=1)), dim=2))
            output = parts.unflatten(2, (-1, 2)).amax(3)  # maxout (Goodfellow et al. 2013), pairs of neighbours
        hidden = tuple(torch.stack(values) for values in zip(*layers))
        last = dataclasses.replace(state, hidden=hidden, fed=None if looks else fed)
        return output, torch.stack(weights, dim=1), last

    def _look(self, h: Tensor, state: DecoderState) -> tuple[Tensor, Tensor]:
        """One query (B, H) to its context (B, M) and weights (B, S)."""
        assert self.attention is not None
        context, weights = self.attention(h[:, None], state.keys, state.memory, state.padding)
        return context[:, 0], weights[:, 0]

    def _advance(self, product: Tensor, layers: list[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
        """One step of all layers, from the first one's input product (B, G); the states of each are (B, H)."""
        rnn: Any = self.decoder.rnn
        cell, behind = self.decoder.cell, []
        for layer, state in enumerate(layers):
            if layer:
                bias = getattr(rnn, f"bias_ih_l{layer}")
                bias = bias if cell.inner_bias else bias + getattr(rnn, f"bias_hh_l{layer}")
                below = self.dropout(behind[-1][0])
                product = nn.functional.linear(below, getattr(rnn, f"weight_ih_l{layer}"), bias)
            vectors = (getattr(rnn, f"bias_hh_l{layer}"),) if cell.inner_bias else ()
            behind.append(cell.step(product, state[0] @ getattr(rnn, f"weight_hh_l{layer}").T, state, vectors))
        return behind

    def example_inputs(self, batch: int, steps: int, device: torch.device | str) -> tuple[Tensor, None, Tensor]:
        """Made-up arguments of `forward`: a source and a target of so many steps, to count and to time with."""
        source = torch.zeros(batch, steps, dtype=torch.int64, device=device)
        return source, None, torch.zeros_like(source)


def count_parameters(cfg: Seq2SeqConfig) -> int:
    """Both stacks, both embeddings, what joins them, attention, readout and head."""
    gates, hidden = CELLS[cfg.cell][0].cell.gates, cfg.hidden_size
    total = stack_parameters(cfg.stack("encoder"), gates) + stack_parameters(cfg.stack("decoder"), gates)
    total += (cfg.source_vocab_size + cfg.target_vocab_size) * cfg.embed_dim
    if cfg.bidirectional:
        total += cfg.num_layers * CELLS[cfg.cell][0].cell.states * hidden * (hidden + 1)
    if cfg.score is not None:
        total += attention.count_parameters(cfg.score, hidden, cfg.memory_size, hidden)
    return total + _readout(cfg, bias=True) + (cfg.readout_size + 1) * cfg.target_vocab_size


def count_macs(cfg: Seq2SeqConfig, source: int, target: int) -> int:
    """Multiply-adds of a source and a target of so many steps."""
    gates, hidden = CELLS[cfg.cell][0].cell.gates, cfg.hidden_size
    total = stack_macs(cfg.stack("encoder"), gates, source) + stack_macs(cfg.stack("decoder"), gates, target)
    if cfg.bidirectional:
        total += cfg.num_layers * CELLS[cfg.cell][0].cell.states * hidden**2
    if cfg.score is not None:
        total += attention.count_macs(cfg.score, hidden, cfg.memory_size, hidden, source, target)
    return total + target * (_readout(cfg, bias=False) + cfg.readout_size * cfg.target_vocab_size)


def _readout(cfg: Seq2SeqConfig, *, bias: bool) -> int:
    """Weights between the decoder and the head."""
    if cfg.attention == "additive":
        return 2 * cfg.readout_size * (cfg.hidden_size + cfg.embed_dim + cfg.memory_size + bias)
    return 0 if cfg.score is None else cfg.readout_size * (cfg.memory_size + cfg.hidden_size)


RECIPE = {
    "optimizer": "adamw",
    "lr": 2e-3,
    "weight_decay": 0.01,
    "batch_size": 128,
    "clip_norm": 1.0,
    "warmup": 0.05,
    "label_smoothing": 0.1,
    "tokenizer": "bpe",
    "vocab_size": 8000,
    "lowercase": False,
}
SYNONYMS = {
    "additive": "Bahdanau's alignment model; concat is Luong's name for the same score, general for Luong's decoder",
    "memory": "annotations h_j (Bahdanau), source hidden states h_s (Luong), encoder outputs (PyTorch's tutorial)",
    "embed_dim, hidden_size": "m, n (Bahdanau); encoder_embed_dim, encoder_hidden_size (fairseq)",
}
STEPS = 16
VARIANTS = (
    (
        "seq2seq",
        Seq2SeqConfig(cell="lstm", reverse_source=True),
        "Sequence to Sequence Learning with Neural Networks",
        ("1 layer in place of 4",),
        2014,
        "1409.3215",
        {"drop_rate": 0.3},
    ),
    (
        "seq2seq_bahdanau",
        Seq2SeqConfig(bidirectional=True, attention="additive"),
        "Neural Machine Translation by Jointly Learning to Align and Translate",
        ("the readout sees s_i, as equation 4 has it", "the GRU's reset gate works behind the recurrent product"),
        2015,
        "1409.0473",
        {"drop_rate": 0.3},
    ),
    (
        "seq2seq_luong",
        Seq2SeqConfig(cell="lstm", attention="general"),
        "Effective Approaches to Attention-based Neural Machine Translation",
        ("1 layer in place of 4", "input feeding is an option: without it all steps are trained at once"),
        2015,
        "1508.04025",
        {"drop_rate": 0.3, "bidirectional": True},
    ),
)
for name, options, paper, deviations, year, arxiv, chosen in VARIANTS:
    register(
        name,
        Seq2Seq,
        options,
        Card(
            params=count_parameters(options),
            macs=count_macs(options, STEPS, STEPS),
            paper=paper,
            year=year,
            arxiv=arxiv,
            input_size=(STEPS,),
            family="recurrent",
            tasks=("translation",),
            recipe={**RECIPE, "options": chosen},
            deviations=deviations,
            synonyms=SYNONYMS,
        ),
    )
