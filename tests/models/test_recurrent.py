"""The recurrent line: torch's modules with the same weights, sequences of any length, the contract of every name."""

import dataclasses
import io
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import corinth
from corinth.errors import UsageError
from corinth.layers import onednn
from corinth.layers.compiler import uncompiled
from corinth.registry import configure

NAMES = corinth.list_models(family="recurrent", task="sequence-classification")
IN, H, T, B = 5, 6, 7, 4
LENGTHS = torch.tensor([7, 1, 4, 6])
PEERS: dict[str, Callable[..., nn.RNNBase]] = {
    "rnn": nn.RNN,
    "rnn_relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "lstm": nn.LSTM,
    "bilstm": nn.LSTM,
    "gru": nn.GRU,
    "bigru": nn.GRU,
}
every_model = pytest.mark.parametrize("name", NAMES)
every_peer = pytest.mark.parametrize("name", PEERS)


@pytest.fixture(autouse=True)
def plain_steps() -> Generator[None]:
    with uncompiled():
        yield


def build(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return corinth.create_model(name, **{"input_size": IN, "hidden_size": H, "num_classes": 3, **options})


def randomise(model: nn.Module) -> Any:
    chance = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=chance) * 0.5)
    return model


def sequences(batch: int = B) -> Tensor:
    return torch.randn(batch, T, IN, generator=torch.Generator().manual_seed(1))


def states(model: Any, batch: int = B) -> Any:
    shape = (model.cfg.num_layers * model.cfg.directions, batch, H)
    values = tuple(torch.randn(shape) for _ in range(model.cell_of(model.cfg).states))
    return values if len(values) > 1 else values[0]


def engine_of(model: Any) -> Any:
    """The same network on our engine in place of torch's kernel: a dropout that drops nothing asks for it."""
    twin = type(model)(dataclasses.replace(model.cfg, recurrent_drop_rate=1e-12))
    twin.load_state_dict(model.state_dict())
    return twin.train()


@every_model
def test_the_card_is_exact(name: str) -> None:
    card = corinth.card(name)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = corinth.create_model(name).eval()
        logits = model(torch.empty(1, *card.input_size))
    assert sum(p.numel() for p in model.parameters()) == card.params
    assert counter.get_total_flops() == 2 * card.macs
    assert logits.shape == (1, configure(name).num_classes)


@pytest.mark.parametrize(
    ("name", "gates", "vectors"), [("rnn", 1, 0), ("gru", 3, 0), ("lstm", 4, 0), ("lstm_peephole", 4, 3)]
)
def test_parameters_by_the_formula(name: str, gates: int, vectors: int) -> None:
    """g (HI + HH + 2H), with peepholes 3H more."""
    count = sum(p.numel() for p in build(name, num_classes=0).parameters())
    assert count == gates * (H * IN + H * H + 2 * H) + vectors * H


@every_peer
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("engine", [False, True])
def test_parity_with_torch(name: str, packed: bool, engine: bool) -> None:
    """Outputs, states, and the gradients of weights, inputs and first state; both directions, two layers."""
    model = randomise(build(name, num_layers=2, bidirectional=True, num_classes=0))
    peer = PEERS[name](IN, H, 2, batch_first=True, bidirectional=True)
    peer.load_state_dict(corinth.dump_weights(model, source="torch"))
    if engine:
        model = engine_of(model)
    x, first = sequences(), states(model)
    lengths = LENGTHS if packed else None
    ends = first if isinstance(first, tuple) else (first,)
    leaves = [x, *ends]
    for leaf in leaves:
        leaf.requires_grad_()

    def gradients(output: Tensor, last: Any, parameters: Any) -> list[Tensor]:
        last = last if isinstance(last, tuple) else (last,)
        weight = torch.linspace(-1, 1, output.numel()).view_as(output)
        total = (output * weight).sum() + sum(value.square().sum() for value in last)
        return list(torch.autograd.grad(total, [*leaves, *parameters]))

    output, last = model.forward_features(x, lengths, first)
    if packed:
        sequence = nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
        expected, expected_last = peer(sequence, first)
        expected = nn.utils.rnn.pad_packed_sequence(expected, batch_first=True)[0]
    else:
        expected, expected_last = peer(x, first)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(last, expected_last)
    found = gradients(output, last, [getattr(model.rnn, key) for key, _ in peer.named_parameters()])
    torch.testing.assert_close(found, gradients(expected, expected_last, peer.parameters()), rtol=1e-4, atol=1e-5)


def test_peephole_step_by_step() -> None:
    """Gers et al. 2002, equation by equation, one sequence and one unit at a time."""
    model = randomise(build("lstm_peephole", num_classes=0)).double()
    x = sequences().double()
    own = {key.removesuffix("_l0"): value.detach() for key, value in model.rnn.named_parameters()}
    sigmoid = torch.sigmoid
    for b in range(B):
        h, c = torch.zeros(H, dtype=torch.float64), torch.zeros(H, dtype=torch.float64)
        for t in range(T):
            sums = own["weight_ih"] @ x[b, t] + own["bias_ih"] + own["weight_hh"] @ h + own["bias_hh"]
            new_h, new_c = h.clone(), c.clone()
            for j in range(H):
                i, f, g, o = (sums[gate * H + j] for gate in range(4))
                p_i, p_f, p_o = (own["weight_ph"][gate * H + j] for gate in range(3))
                new_c[j] = sigmoid(f + p_f * c[j]) * c[j] + sigmoid(i + p_i * c[j]) * torch.tanh(g)
                new_h[j] = sigmoid(o + p_o * new_c[j]) * torch.tanh(new_c[j])
            h, c = new_h, new_c
            torch.testing.assert_close(model.forward_features(x)[0][b, t], h)


def test_layer_normalised_lstm_with_torchs_own_norm() -> None:
    model = randomise(build("lstm_layernorm", num_classes=0)).double()
    x = sequences().double()
    own = {key.removesuffix("_l0"): value.detach() for key, value in model.rnn.named_parameters()}
    h = c = torch.zeros(B, H, dtype=torch.float64)
    outputs = []
    for t in range(T):
        sums = nn.functional.layer_norm(x[:, t] @ own["weight_ih"].T, (4 * H,), own["norm_ih"], own["bias_ih"])
        sums = sums + nn.functional.layer_norm(h @ own["weight_hh"].T, (4 * H,), own["norm_hh"], own["bias_hh"])
        i, f, g, o = sums.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(nn.functional.layer_norm(c, (H,), own["norm_c"], own["shift_c"]))
        outputs.append(h)
    torch.testing.assert_close(model.forward_features(x)[0], torch.stack(outputs, dim=1))


@every_model
@pytest.mark.parametrize("pool", ["last", "mean", "max", "none"])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_padding_changes_nothing(name: str, pool: str, layer_norm: bool) -> None:
    """Each sequence alone and unpadded gives what it gives in a padded batch, in outputs, states and gradients."""
    model = randomise(build(name, num_layers=2, bidirectional=True, pool=pool, layer_norm=layer_norm))
    x = sequences()
    for row, length in enumerate(LENGTHS):
        x[row, length:] = float("nan")
    logits = model(x, LENGTHS)
    output, last = model.forward_features(x, LENGTHS)
    mask = torch.arange(T)[None, :, None] < LENGTHS[:, None, None]
    assert not output[~mask.expand_as(output)].any()
    (logits * mask if pool == "none" else logits).sum().backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for row, length in enumerate(LENGTHS):
        alone = x[row : row + 1, :length]
        expected = model(alone)
        torch.testing.assert_close(
            logits[row : row + 1, :length] if pool == "none" else logits[row : row + 1], expected
        )
        output_alone, last_alone = model.forward_features(alone)
        torch.testing.assert_close(output[row : row + 1, :length], output_alone)
        rows = [value[:, row : row + 1] for value in (last if isinstance(last, tuple) else (last,))]
        torch.testing.assert_close(rows, list(last_alone if isinstance(last_alone, tuple) else (last_alone,)))
        expected.sum().backward()
    torch.testing.assert_close(found, [p.grad for p in model.parameters()], rtol=1e-4, atol=1e-5)


@every_model
def test_pieces_with_the_state_between_them_are_the_whole(name: str) -> None:
    model = randomise(build(name, bidirectional=False, num_layers=2))
    whole, last = model.forward_features(sequences())
    first, between = model.forward_features(sequences()[:, :3])
    second, end = model.forward_features(sequences()[:, 3:], state=between)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(end, last)


@every_model
def test_truncated_backpropagation_stops_at_the_detached_state(name: str) -> None:
    model = randomise(build(name, bidirectional=False))
    x = sequences().requires_grad_()
    _, between = model.forward_features(x[:, :3])
    between = tuple(v.detach() for v in between) if isinstance(between, tuple) else between.detach()
    model.forward_features(x[:, 3:], state=between)[0].sum().backward()
    assert not x.grad[:, :3].any()
    assert x.grad[:, 3:].any(dim=2).all()


@every_model
def test_every_parameter_receives_a_gradient(name: str) -> None:
    model = randomise(build(name, num_layers=2))
    nn.functional.cross_entropy(model(sequences()), torch.tensor([0, 1, 2, 0])).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), f"the gradient of {key} is zero"


@every_model
def test_head_reset_and_round_trip(name: str) -> None:
    model = build(name)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin = corinth.create_model(name, input_size=IN, hidden_size=H, num_classes=3)
    twin.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(twin(sequences()), model(sequences()), rtol=0, atol=0)
    model.reset_head(5)
    assert model(sequences()).shape == (B, 5)
    model.reset_head(0)
    assert model(sequences()).shape == (B, model.cfg.num_features)


@every_model
def test_export_with_any_batch_and_length(name: str) -> None:
    model = randomise(build(name, num_layers=2)).eval()
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("steps")}
    with torch.no_grad():
        program = torch.export.export(model, (sequences(),), dynamic_shapes=(dynamic,))
        other = torch.randn(9, 12, IN)
        torch.testing.assert_close(program.module()(other), model(other), rtol=1e-4, atol=1e-5)


def test_export_knows_nothing_of_what_was_exported_before() -> None:
    """torch's compiler, which scan would go through, ties the batch to other sizes when it has seen several."""
    model = randomise(build("gru", num_layers=2, bidirectional=True, layer_norm=True)).eval()
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("steps")}
    other = torch.randn(9, 12, IN)
    with torch.no_grad():
        for batch in (4, 3, 6):
            program = torch.export.export(model, (sequences(batch),), dynamic_shapes=(dynamic,))
            torch.testing.assert_close(program.module()(other), model(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["bilstm", "lstm_peephole"])
def test_export_with_lengths(name: str) -> None:
    model = randomise(build(name, bidirectional=True, pool="mean")).eval()
    batch, steps = torch.export.Dim("batch"), torch.export.Dim("steps")
    with torch.no_grad():
        program = torch.export.export(model, (sequences(), LENGTHS), dynamic_shapes=({0: batch, 1: steps}, {0: batch}))
        other, lengths = torch.randn(3, 12, IN), torch.tensor([12, 1, 5])
        torch.testing.assert_close(program.module()(other, lengths), model(other, lengths), rtol=1e-4, atol=1e-5)


@every_model
def test_bfloat16_autocast_is_finite_and_a_seed_decides_everything(name: str) -> None:
    model = build(name, drop_rate=0.3, num_layers=2).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(sequences())
        logits.float().sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    again = build(name, drop_rate=0.3, num_layers=2).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(again(sequences()), logits)


@pytest.mark.parametrize("name", ["lstm", "bilstm"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_bfloat16_without_a_kernel_for_it(name: str, lengths: Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without AVX512 has none of the LSTM: its own answers under autocast are those in single precision."""
    monkeypatch.setattr(onednn, "knows_bfloat16", lambda: False)
    model, x = build(name).train(), sequences()
    exact, last = model.forward_features(x.bfloat16().float(), lengths)
    further, _ = model.forward_features(x.bfloat16().float(), lengths, state=last)
    (exact.square().sum() + further.sum()).backward()
    wanted = [p.grad.clone() for p in model.rnn.parameters()]
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, again = model.forward_features(x.bfloat16(), lengths)
        beyond, _ = model.forward_features(x.bfloat16(), lengths, state=tuple(value.bfloat16() for value in again))
        (found.square().sum() + beyond.sum()).backward()
    assert found.dtype == beyond.dtype == torch.float32
    torch.testing.assert_close((found, *again), (exact, *last))
    # the states between were rounded to bfloat16, which has eight bits
    torch.testing.assert_close(beyond, further, rtol=0.02, atol=0.02)
    torch.testing.assert_close([p.grad for p in model.rnn.parameters()], wanted, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_in_other_precisions_are_left_alone(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("lstm").to(dtype).eval()
    seen = []
    monkeypatch.setattr(model.rnn, "forward", lambda x, given: seen.append(x.dtype) or (x, given))
    monkeypatch.setattr(onednn, "knows_bfloat16", lambda: False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model._fused(sequences().to(dtype), None, None)
    assert seen == [dtype]


def test_initialisation() -> None:
    model = build("lstm", forget_bias=2.0, hidden_size=16, bidirectional=True)
    for end in ("l0", "l0_reverse"):
        for gate in getattr(model.rnn, f"weight_hh_{end}").detach().split(16):
            torch.testing.assert_close(gate @ gate.T, torch.eye(16))
        i, f, g, o = getattr(model.rnn, f"bias_ih_{end}").chunk(4)
        assert (f == 2).all()
        assert not torch.cat([i, g, o]).any()
    uniform = build("lstm", recurrent_init="uniform", hidden_size=16).rnn.weight_hh_l0
    assert 0.2 < uniform.abs().max() <= 0.25
    assert (build("lstm_layernorm").rnn.norm_hh_l0 == 1).all()
    assert not build("lstm_peephole").rnn.weight_ph_l0.any()


def test_variational_dropout_drops_the_same_units_at_every_step() -> None:
    model = build("lstm", num_layers=2, drop_rate=0.5, variational=True, hidden_size=32, num_classes=0).train()
    seen = []
    recorded = model._layer
    model._layer = lambda cell, end, x, *rest, **more: seen.append(x) or recorded(cell, end, x, *rest, **more)
    model.forward_features(sequences())
    dropped = seen[1] == 0  # (T, B, H)
    assert (dropped == dropped[:1]).all()
    assert 0.3 < dropped.float().mean() < 0.7
    model.eval()
    torch.testing.assert_close(model(sequences()), model(sequences()))


def test_recurrent_dropout_needs_no_correction_at_evaluation() -> None:
    model = build("lstm_peephole", recurrent_drop_rate=0.5)
    model.train()
    a, b = model(sequences()), model(sequences())
    assert not torch.equal(a, b)
    model.eval()
    torch.testing.assert_close(model(sequences()), model(sequences()))


def test_tokens_are_embedded() -> None:
    model = build("gru", vocab_size=9)
    tokens = torch.tensor([[1, 8, 0], [2, 3, 4]])
    expected = model.forward_features(tokens)[0]
    bare = build("gru")
    bare.rnn.load_state_dict(model.rnn.state_dict())
    torch.testing.assert_close(bare.forward_features(model.embed(tokens))[0], expected)


@pytest.mark.parametrize("padding", [-1, -100, 9])
def test_tokens_behind_the_end_may_be_any(padding: int) -> None:
    model = build("gru", vocab_size=9)
    tokens = torch.tensor([[1, 8, padding], [2, 3, 4]])
    torch.testing.assert_close(model(tokens, [2, 3])[:1], model(tokens[:1, :2]))


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_lengths_as_a_list(pool: str) -> None:
    model = build("lstm", pool=pool)
    torch.testing.assert_close(model(sequences(), LENGTHS.tolist()), model(sequences(), LENGTHS))


def test_bfloat16_with_recurrent_dropout_and_a_state_of_another_type() -> None:
    model = build("lstm_peephole", recurrent_drop_rate=0.5).bfloat16().train()
    logits = model(sequences().bfloat16(), state=states(model))
    logits.sum().backward()
    assert logits.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build("lstm")(torch.zeros(2, 3, 4)), r"sequences of shape \(2, 3, 4\) .* needs \(B, T, 5\)"),
        (lambda: build("lstm")(torch.zeros(2, 0, 5)), "the sequences have no steps; each needs at least one"),
        (lambda: build("lstm")(sequences(), torch.tensor([1, 0, 2, 3])), r"lengths\[1\] is 0; .* from 1 to 7 steps"),
        (lambda: build("lstm")(sequences(), torch.tensor([1, 2, 8, 3])), r"lengths\[2\] is 8; .* from 1 to 7 steps"),
        (lambda: build("lstm")(sequences(), torch.tensor([1, 2])), "lengths are 4 whole numbers"),
        (lambda: build("lstm")(sequences(), state=torch.zeros(1, B, H)), r"needs \(1, 4, 6\) and \(1, 4, 6\)"),
        (
            lambda: build("gru")(sequences(), state=torch.zeros(2, B, H)),
            r"has the shape \(2, 4, 6\); it needs \(1, 4, 6\)",
        ),
        (lambda: build("gru", vocab_size=9)(torch.tensor([[1, 9]])), "token 9 is outside of the vocabulary, 0 to 8"),
        (lambda: build("gru", vocab_size=9)(sequences()), "tokens are whole numbers"),
    ],
)
def test_what_does_not_fit_is_said(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


@every_model
@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_size", 0), ("num_layers", 0), ("drop_rate", 1.0), ("recurrent_drop_rate", -0.1), ("pool", "first"),
     ("bidirectional", "yes"), ("recurrent_init", "zeros"), ("vocab_size", -1), ("input_size", 1.5)],
)  # fmt: skip
def test_a_bad_value_names_its_field(name: str, field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{name}: {field} .*{value}"):
        corinth.create_model(name, **{field: value})


def test_weights_of_torch_go_in_and_out_beside_a_head() -> None:
    peer = nn.LSTM(IN, H, 2, bidirectional=True)
    model = build("bilstm", num_layers=2)
    report = corinth.load_weights(model, peer.state_dict(), source="torch")
    assert set(report.missing) == {"head.weight", "head.bias"}
    dumped = corinth.dump_weights(model, source="torch")
    assert dumped.keys() == peer.state_dict().keys()
    assert all(torch.equal(dumped[key], value) for key, value in peer.state_dict().items())
    with pytest.raises(corinth.errors.WeightsError, match="weight_hh_l0"):
        corinth.load_weights(model, nn.LSTM(IN, H + 1, 2, bidirectional=True).state_dict(), source="torch")
    with pytest.raises(UsageError, match="no weights layout 'torch'"):
        corinth.dump_weights(build("lstm_peephole"), source="torch")
