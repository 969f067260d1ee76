"""Language modelling: its loss against plain torch, states that are carried on, metrics."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth.data import Batch, Sequences
from corinth.data.sequences.batch import NO_TAG
from corinth.data.sequences.windows import Windows
from corinth.registry import create_model
from corinth.tasks import LanguageModeling
from corinth.training.stepping import split
from random_tensors import randomise

VOCAB, WIDTH, HIDDEN = 11, 5, 7
ANY = torch.Generator()


def network(arch: str = "lstm", **options: Any) -> Any:
    options = {"vocab_size": VOCAB, "num_classes": VOCAB, "input_size": WIDTH, "hidden_size": HIDDEN} | options
    return randomise(create_model(arch, num_layers=2, pool="none", **options).eval())


def batch(tokens: Tensor, step: int, window: int, *, streams: Tensor | None = None) -> Batch:
    """A window of every row of tokens (B, T), each row a stream."""
    place = step * window
    values, targets = tokens[:, place : place + window], tokens[:, place + 1 : place + window + 1]
    rows, count = len(tokens), torch.tensor([values.shape[1]] * len(tokens))
    which = torch.arange(rows) if streams is None else streams
    fresh = torch.tensor([step == 0] * rows)
    return Batch(Windows(values, count, which, fresh, count), targets, which)


def test_the_loss_is_that_of_plain_torch() -> None:
    model, tokens = network(), torch.randint(VOCAB, (3, 13))
    embed, rnn, head = nn.Embedding(VOCAB, WIDTH), nn.LSTM(WIDTH, HIDDEN, 2, batch_first=True), nn.Linear(HIDDEN, VOCAB)
    embed.load_state_dict(model.embed.state_dict())
    rnn.load_state_dict(model.rnn.state_dict())
    head.load_state_dict(model.head.state_dict())
    logits = head(rnn(embed(tokens[:, :-1]))[0])
    wanted = -torch.stack([logits[b, t].log_softmax(0)[tokens[b, t + 1]] for b in range(3) for t in range(12)]).mean()
    wanted.backward()
    terms = LanguageModeling(model).losses("train", batch(tokens, 0, 12), ANY)
    terms["loss"].value.backward()
    assert terms["loss"].count == 36
    assert terms["nats_per_character"].weight == 0
    torch.testing.assert_close(terms["loss"].value, wanted)
    plain = {**dict(embed.named_parameters(prefix="embed")), **dict(head.named_parameters(prefix="head"))}
    plain |= dict(rnn.named_parameters(prefix="rnn"))
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, plain[name].grad, msg=name)


@pytest.mark.parametrize("arch", ["lstm", "gru", "rnn", "lstm_peephole", "lstm_layernorm"])
def test_states_carried_on_are_one_long_pass(arch: str) -> None:
    model, tokens = network(arch), torch.randint(VOCAB, (2, 25))
    task = LanguageModeling(model)
    logits = model(tokens[:, :-1])
    wanted = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    found = [task.losses("train", batch(tokens, step, 8), ANY)["loss"].value for step in range(3)]
    torch.testing.assert_close(torch.stack(found).mean(), wanted)
    again = task.losses("train", batch(tokens, 0, 8), ANY)["loss"].value  # a stream that begins forgets
    torch.testing.assert_close(again, found[0])


def test_the_gradient_ends_where_the_window_begins() -> None:
    model, tokens = network(), torch.randint(VOCAB, (1, 9))
    task = LanguageModeling(model)
    with torch.no_grad():
        task.losses("train", batch(tokens, 0, 4), ANY)
        state = model(tokens[:, :4], with_state=True)[1]
    task.losses("train", batch(tokens, 1, 4), ANY)["loss"].value.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    F.cross_entropy(model(tokens[:, 4:8], state=state).flatten(0, 1), tokens[0, 5:9]).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, msg=name)


def test_parts_of_a_batch_go_on_from_their_own_states() -> None:
    tokens = torch.randint(VOCAB, (5, 17))
    whole, parted = LanguageModeling(network()), LanguageModeling(network())
    parted.nets.load_state_dict(whole.nets.state_dict())
    for step in range(2):
        wanted = whole.losses("train", batch(tokens, step, 8), ANY)["loss"].value
        terms = [parted.losses("train", part, ANY)["loss"] for part in split(batch(tokens, step, 8), 3)]
        assert [term.count for term in terms] == [16, 16, 8]
        torch.testing.assert_close(sum(term.value * term.count for term in terms) / 40, wanted)


def test_validation_does_not_disturb_the_training() -> None:
    tokens, other = torch.randint(VOCAB, (2, 17)), torch.randint(VOCAB, (3, 9))
    task, alone = LanguageModeling(network()), LanguageModeling(network())
    alone.nets.load_state_dict(task.nets.state_dict())
    for trained in (task, alone):
        trained.losses("train", batch(tokens, 0, 8), ANY)
    task.measure(task.metrics(), batch(other, 0, 8))
    found, wanted = (trained.losses("train", batch(tokens, 1, 8), ANY)["loss"].value for trained in (task, alone))
    torch.testing.assert_close(found, wanted)


def test_a_saved_state_goes_on() -> None:
    tokens = torch.randint(VOCAB, (2, 17))
    task, resumed = LanguageModeling(network("gru")), LanguageModeling(network("gru"))
    resumed.nets.load_state_dict(task.nets.state_dict())
    assert task.own_state() == {}
    task.losses("train", batch(tokens, 0, 8), ANY)
    resumed.load_own_state({name: values.clone() for name, values in task.own_state().items()})
    found, wanted = (trained.losses("train", batch(tokens, 1, 8), ANY)["loss"].value for trained in (resumed, task))
    assert torch.equal(found, wanted)


def test_metrics_are_over_scored_tokens_and_their_characters() -> None:
    task = LanguageModeling(network())
    tokens = torch.randint(VOCAB, (2, 9))
    some = batch(tokens, 0, 8)
    some.targets = some.targets.clone()
    some.targets[0, :5] = NO_TAG
    inputs = some.inputs
    some.inputs = Windows(inputs.values, inputs.lengths, inputs.streams, inputs.fresh, torch.tensor([9, 21]))
    metrics = task.metrics()
    task.measure(metrics, some)
    log_probs = task.predict(batch(tokens, 0, 8)).log_probs.detach()
    scored = [(0, t) for t in range(5, 8)] + [(1, t) for t in range(8)]
    nats = -sum(float(log_probs[b, t, tokens[b, t + 1]]) for b, t in scored)
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found["loss"] == pytest.approx(nats / 11, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(nats / 11), rel=1e-5)
    assert found["nats_per_character"] == pytest.approx(nats / 30, rel=1e-5)
    assert found["bits_per_character"] == pytest.approx(nats / 30 / math.log(2), rel=1e-5)
    assert task.rank({"loss": 1.0}) > task.rank({"loss": 1.1})


def test_made_up_inputs_can_be_timed() -> None:
    task = LanguageModeling(network())
    inputs = Sequences.of(torch.randint(VOCAB, (4, 6)))
    terms = task.losses("train", Batch(inputs, task.random_targets(4, (6,)), torch.arange(4)), ANY)
    assert math.isfinite(float(terms["loss"].value.detach()))
    assert task.own_state() == {}
