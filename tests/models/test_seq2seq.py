"""Encoder-decoder networks: against a plain twin, sentence by sentence and step by step; padding; the contract."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import corinth
from corinth.errors import UsageError
from corinth.inspect import count_macs, count_params
from corinth.models.recurrent import seq2seq
from corinth.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig
from corinth.registry import configure
from corinth.training.recipe import recipe_for

NAMES = corinth.list_models(task="translation")
SIZES: dict[str, Any] = {"source_vocab_size": 11, "target_vocab_size": 13, "embed_dim": 6, "hidden_size": 8}
KINDS: list[dict[str, Any]] = [
    {"attention": "none"},
    {"attention": "none", "reverse_source": True},
    {"attention": "additive", "bidirectional": True},
    {"attention": "additive"},
    {"attention": "dot"},
    {"attention": "general", "bidirectional": True},
    {"attention": "concat", "bidirectional": True},
    {"attention": "dot", "input_feeding": True},
    {"attention": "general", "bidirectional": True, "input_feeding": True},
    {"attention": "concat", "input_feeding": True},
]
FORMS = [
    {**kind, "cell": cell, "num_layers": layers}
    for kind, cell, layers in itertools.product(KINDS, ("gru", "lstm"), (1, 2))
]
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(str(value) for value in form.values()))
LENGTHS = torch.tensor([5, 1, 3])


def build(form: dict[str, Any], **more: Any) -> Seq2Seq:
    """With every tensor random."""
    model = Seq2Seq(Seq2SeqConfig(**SIZES, **form, **more))
    chance = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=chance) * 0.5)
    return model


def tokens(size: int, vocabulary: int, steps: int, seed: int = 1) -> Tensor:
    return torch.randint(vocabulary, (size, steps), generator=torch.Generator().manual_seed(seed))


def plain(model: Any, source: Tensor, target: Tensor) -> Tensor:
    """Logits (T, V) of one sentence (S,) and its target (T,), by torch's own cells and the papers' equations."""
    cfg, gru = model.cfg, model.cfg.cell == "gru"
    stack = (nn.GRU if gru else nn.LSTM)(
        cfg.embed_dim, cfg.hidden_size, cfg.num_layers, bidirectional=cfg.bidirectional
    )
    source = source.flip(0) if cfg.reverse_source else source
    memory, last = torch.func.functional_call(
        stack, dict(model.encoder.rnn.named_parameters()), (model.source_embed.weight[source],)
    )
    states = [last] if gru else list(last)  # h, c: (L x D, H)
    if cfg.bidirectional:
        at = iter(model.bridge)
        states = [torch.stack([torch.tanh(next(at)(value)) for value in values[1::2]]) for values in states]
    layers = [[values[layer] for values in states] for layer in range(cfg.num_layers)]
    fed = torch.zeros(cfg.hidden_size)
    logits = []
    for token in target:
        word = model.target_embed.weight[token]
        if cfg.attention == "additive":
            context = attend(model, layers[-1][0], memory)
            inputs = torch.cat((word, context))
        else:
            inputs = torch.cat((word, fed)) if cfg.input_feeding else word
        for number, state in enumerate(layers):
            cell = (nn.GRUCell if gru else nn.LSTMCell)(len(inputs), cfg.hidden_size)
            own = {name: getattr(model.decoder.rnn, f"{name}_l{number}") for name, _ in cell.named_parameters()}
            found = torch.func.functional_call(cell, own, (inputs, state[0] if gru else tuple(state)))
            layers[number] = [found] if gru else list(found)
            inputs = layers[number][0]
        h = layers[-1][0]
        if cfg.attention == "additive":
            maxed = (
                (model.readout.weight @ torch.cat((h, word, context)) + model.readout.bias).view(-1, 2).max(1).values
            )
            logits.append(model.head(maxed))
        elif cfg.attention == "none":
            logits.append(model.head(h))
        else:
            fed = torch.tanh(model.readout.weight @ torch.cat((attend(model, h, memory), h)))
            logits.append(model.head(fed))
    return torch.stack(logits)


def attend(model: Any, query: Tensor, memory: Tensor) -> Tensor:
    """The context (M,) of a query (Q,) over the memory (S, M)."""
    scores = []
    for m in memory:
        if model.cfg.attention == "dot":
            scores.append(query @ m)
        elif model.cfg.attention == "general":
            scores.append(query @ model.attention.key.weight @ m)
        else:
            both = torch.cat((model.attention.query.weight, model.attention.key.weight), dim=1)  # Luong's W_a
            scores.append(model.attention.energy.weight[0] @ torch.tanh(both @ torch.cat((query, m))))
    weights = torch.stack(scores).exp()
    return (weights / weights.sum()) @ memory


@every_form
def test_outputs_and_gradients_are_those_of_the_plain_twin(form: dict[str, Any]) -> None:
    """Of a padded batch against each sentence by itself."""
    model = build(form).double()
    source, target = tokens(3, 11, 5), tokens(3, 13, 4, seed=3)
    torch.set_default_dtype(torch.float64)
    try:
        truth = torch.stack([plain(model, row[:length], to) for row, length, to in zip(source, LENGTHS, target)])
    finally:
        torch.set_default_dtype(torch.float32)
    found = model(source, LENGTHS, target)
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-9)
    weight = torch.randn(truth.shape, generator=torch.Generator().manual_seed(4)).double()
    parameters = dict(model.named_parameters())
    ours = torch.autograd.grad((found * weight).sum(), list(parameters.values()))
    theirs = torch.autograd.grad((truth * weight).sum(), list(parameters.values()))
    for name, a, b in zip(parameters, ours, theirs):
        assert b.any(), f"{name} plays no part in the twin"
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}")


@every_form
def test_padding_changes_nothing(form: dict[str, Any]) -> None:
    """Neither results nor gradients, whatever stands there and however much of it there is."""
    model = build(form)
    source, target = tokens(3, 11, 5), tokens(3, 13, 4, seed=3)

    def results(source: Tensor) -> list[Tensor]:
        logits = model(source, LENGTHS, target)
        return [logits, *torch.autograd.grad(logits.square().mean(), list(model.parameters()))]

    first = results(source)
    junk = source.clone()
    for row, length in zip(junk, LENGTHS):
        row[length:] = 10_000
    longer = F.pad(junk, (0, 3), value=-7)
    for found in (results(junk), results(longer)):
        for a, b in zip(first, found):
            assert b.isfinite().all()
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@every_form
def test_writing_token_by_token_is_the_same_as_reading_all(form: dict[str, Any]) -> None:
    model = build(form).eval()
    source, target = tokens(3, 11, 5), tokens(3, 13, 4, seed=3)
    with torch.inference_mode():
        whole, (_, weights) = model(source, LENGTHS, target), model.forward_features(source, LENGTHS, target)
        state = model.encode(source, LENGTHS)
        for step in range(4):
            logits, state = model.decode_step(state, target[:, step])
            torch.testing.assert_close(logits, whole[:, step], rtol=1e-4, atol=1e-5)
            if form["attention"] != "none":
                torch.testing.assert_close(state.weights, weights[:, step], rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(state.weights.sum(1), torch.ones(3))
                assert not state.weights[1, 1:].any(), "it looks behind the end of a source"


@pytest.mark.parametrize("attention", ["additive", "general"])
def test_weights_are_of_the_words_as_they_stand(attention: str) -> None:
    """Also where the encoder reads from the end: as another reads the sentence that is written backwards."""
    model, other = (build({"attention": attention, "reverse_source": reverse}).eval() for reverse in (True, False))
    source, target = tokens(1, 11, 5), tokens(1, 13, 4)
    for lengths in (None, torch.tensor([5])):
        found, weights = model.forward_features(source, lengths, target)
        wanted, backwards = other.forward_features(source.flip(1), lengths, target)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(weights, backwards.flip(2))


def test_a_state_can_be_of_other_rows() -> None:
    model = build({"attention": "general", "bidirectional": True, "input_feeding": True, "cell": "lstm"}).eval()
    source, rows = tokens(3, 11, 5), torch.tensor([2, 0, 2, 1])
    with torch.inference_mode():
        _, state = model.decode_step(model.encode(source, LENGTHS), torch.tensor([1, 2, 3]))
        logits, _ = model.decode_step(state, torch.tensor([4, 5, 6]))
        chosen, _ = model.decode_step(state.select(rows), torch.tensor([4, 5, 6])[rows])
    torch.testing.assert_close(chosen, logits[rows], rtol=1e-5, atol=1e-6)


@every_form
def test_the_formulas_count_parameters_and_macs(form: dict[str, Any]) -> None:
    cfg = Seq2SeqConfig(**SIZES, **form)
    with torch.device("meta"):
        model = Seq2Seq(cfg).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 9, dtype=torch.int64), None, torch.zeros(1, 4, dtype=torch.int64))
    assert count_params(model) == seq2seq.count_parameters(cfg)
    assert counter.get_total_flops() == 2 * seq2seq.count_macs(cfg, 9, 4)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_exact(name: str) -> None:
    card = corinth.card(name)
    with torch.device("meta"):
        model = corinth.create_model(name)
    assert count_params(model) == card.params
    assert count_macs(model, card.input_size) == card.macs
    assert recipe_for(name, "pairs").label_smoothing == 0.1


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_receives_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = corinth.create_model(name, **SIZES, drop_rate=0.1).train()
    logits = model(tokens(3, 11, 5), LENGTHS, tokens(3, 13, 4))
    F.cross_entropy(logits.flatten(0, 1), tokens(3, 13, 4, seed=5).flatten()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("form", KINDS[2:8], ids=str)
def test_bfloat16_autocast_is_finite_and_near(form: dict[str, Any]) -> None:
    model = build(form).eval()
    source, target = tokens(3, 11, 5), tokens(3, 13, 4)
    with torch.inference_mode():
        exact = model(source, LENGTHS, target)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(source, LENGTHS, target).float()
    assert (found - exact).abs().max() < 0.1 * exact.abs().max()


def test_names_are_the_papers() -> None:
    assert (configure("seq2seq_bahdanau").attention, configure("seq2seq_bahdanau").bidirectional) == ("additive", True)
    assert (configure("seq2seq_luong").attention, configure("seq2seq_luong").cell) == ("general", "lstm")
    assert configure("seq2seq").reverse_source
    assert corinth.card("seq2seq_bahdanau").arxiv == "1409.0473"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attention": "soft"}, "attention 'soft' is none of none, additive, dot, general, concat"),
        ({"cell": "rnn"}, "cell 'rnn' is none of gru, lstm"),
        ({"attention": "dot", "bidirectional": True}, "attention 'dot' .* use general"),
        ({"attention": "additive", "input_feeding": True}, "input_feeding is for attention dot, general or concat"),
        ({"hidden_size": 0}, "hidden_size 0 is not a whole number of at least 1"),
        ({"drop_rate": 1.0}, "drop_rate 1.0 is not in"),
        ({"reverse_source": 1}, "reverse_source 1 is neither true nor false"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(Seq2SeqConfig(), **options)


def test_tokens_that_are_none_are_refused() -> None:
    model = build({"attention": "general"})
    good = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(UsageError, match="source token 11 is outside of the vocabulary, 0 to 10"):
        model(good + 11, None, good)
    with pytest.raises(UsageError, match="target token -1 is outside of the vocabulary, 0 to 12"):
        model(good, None, good - 1)
    with pytest.raises(UsageError, match=r"source tokens are whole numbers \(B, T\)"):
        model(good.float(), None, good)
    with pytest.raises(UsageError, match=r"lengths\[1\] is 4"):
        model(good, torch.tensor([3, 4]), good)
