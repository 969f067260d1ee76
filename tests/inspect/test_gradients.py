"""Gradients by step: against finite differences, of padded and embedded sequences; and the command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corinth import create_model
from corinth.cli import main
from corinth.data import Batch, Sequences
from corinth.errors import UsageError
from corinth.inspect import gradients_by_step
from sequence_sets import text_rows, waves, write_table, write_ts


def batch_of(*rows: torch.Tensor) -> Batch:
    return Batch(Sequences.of(list(rows)), torch.zeros(len(rows), dtype=torch.int64), torch.arange(len(rows)))


def test_norms_are_those_of_each_sequence_alone() -> None:
    torch.manual_seed(0)
    model = create_model("gru", input_size=3, hidden_size=4, num_classes=2).double()
    rows = [torch.randn(n, 3, dtype=torch.float64) for n in (5, 3, 5)]

    def loss(batch: Batch) -> torch.Tensor:
        return model(batch.inputs.values, batch.inputs.lengths).square().sum(1).mean()

    found = gradients_by_step(model, [batch_of(*rows)], loss, least=1)
    single = []
    for row in rows:
        x = row.clone().requires_grad_()
        model.eval()(x[None]).square().sum().backward()
        assert x.grad is not None
        single.append(x.grad.norm(dim=1).flip(0).numpy())
    want = [np.median([norms[back] for norms in single if back < len(norms)]) for back in range(5)]
    np.testing.assert_allclose(found.norms, want, rtol=1e-9)
    assert found.counts.tolist() == [3, 3, 3, 2, 2]
    assert found.at(0) == 1
    assert all(parameter.grad is None or parameter.requires_grad for parameter in model.parameters())


def test_a_known_network_vanishes_as_it_must() -> None:
    """h_t = w h_{t-1} + x_t, without a bend where values are small: the gradient k steps back is w^k."""
    model = create_model("rnn", input_size=1, hidden_size=1, num_classes=0, recurrent_init="uniform")
    with torch.no_grad():
        for name, parameter in model.rnn.named_parameters():
            parameter.fill_({"weight_ih_l0": 1.0, "weight_hh_l0": 0.5}.get(name, 0.0))
    batch = batch_of(*(1e-4 * torch.randn(12, 1) for _ in range(9)))
    found = gradients_by_step(model, [batch], lambda b: model(b.inputs.values, b.inputs.lengths).mean())
    np.testing.assert_allclose(found.norms / found.norms[0], 0.5 ** np.arange(12), rtol=1e-4)
    assert found.half == 2


def test_tokens_and_the_mode_of_the_model() -> None:
    model = create_model("lstm", vocab_size=7, input_size=3, hidden_size=4, num_classes=2, drop_rate=0.5).train()
    batch = batch_of(*(torch.randint(7, (n,)) for n in (6, 4, 2)))
    frozen = [parameter.clone() for parameter in model.parameters()]
    profiles = [
        gradients_by_step(model, [batch], lambda b: model(b.inputs.values, b.inputs.lengths).square().mean(), least=1)
        for _ in range(2)
    ]
    assert model.training
    assert np.array_equal(profiles[0].norms, profiles[1].norms)  # no dropout
    assert len(profiles[0].norms) == 6
    assert all(torch.equal(a, b) for a, b in zip(frozen, model.parameters(), strict=True))
    assert not model.embed._forward_hooks  # ty: ignore


def test_steps_that_few_sequences_have_are_left_out() -> None:
    model = create_model("gru", input_size=1, hidden_size=2, num_classes=2)
    batch = batch_of(*(torch.randn(n, 1) for n in [5] * 19 + [30]))
    assert len(gradients_by_step(model, [batch], lambda b: model(b.inputs.values).mean()).norms) == 5


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_ts(tmp_path / "waves.ts", *waves())
    args: list[Any] = ["gradients", "rnn", "lstm", "--data", str(path), "--set", "hidden_size=8"]
    assert main(args) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["steps", "back", "rnn", "lstm"]
    assert [line.split()[0] for line in out if line.split()[0].isdigit()][:4] == ["0", "1", "2", "5"]
    assert "How far back the networks learn from on waves" in (tmp_path / "gradients.html").read_text()
    assert main([*args, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rnn"]["counts"][0] == 28
    assert main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    table = write_table(tmp_path / "t.tsv", text_rows())
    train = ["train", "--data", str(table), "--model", "gru", "--budget", "1ep", "--set", "hidden_size=8", "--quiet"]
    assert main([*train, "--output", "run"]) == 0
    capsys.readouterr()
    assert main(["gradients", "run", "--output", "g.html"]) == 0
    assert capsys.readouterr().out.split()[:3] == ["steps", "back", "run"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("", "needs recurrent architectures"),
        ("lstm", "say --data PATH"),
        ("lstm --data digits", "digits is data for image-classification"),
        ("cnn --data waves.ts", "does image-classification"),
        ("lstm lstm --data waves.ts", "lstm is named twice"),
        ("lstm --data waves.ts --samples 0", "--samples 0"),
        ("rnn --data waves.ts --set recurrent_init=uniform --set num_classes=3", "num_classes 3 does not fit"),
        ("lstm --data waves.ts --output waves.ts", "no page of ours"),
    ],
)
def test_wrong_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_ts(tmp_path / "waves.ts", *waves())
    assert main(["gradients", *args.split()]) == 2
    assert said in capsys.readouterr().err


def test_a_gradient_that_is_nothing_is_said() -> None:
    model = create_model("gru", input_size=2, hidden_size=2, num_classes=2)
    torch.nn.init.zeros_(model.head.weight)
    batch = batch_of(*(torch.randn(4, 2) for _ in range(8)))
    with pytest.raises(UsageError, match="the gradient at the last step is zero or not finite"):
        gradients_by_step(model, [batch], lambda b: model(b.inputs.values).square().mean())


def test_runs_are_looked_at_with_their_own_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = write_table(tmp_path / "t.tsv", text_rows())
    train = ["train", "--data", str(table), "--model", "gru", "--budget", "1ep", "--set", "hidden_size=8", "--quiet"]
    assert main([*train, "--output", "run"]) == 0
    write_table(
        tmp_path / "o.tsv", [(f"fine {i}", "great") for i in range(9)] + [(f"poor {i}", "bad") for i in range(9)]
    )
    capsys.readouterr()
    assert main(["gradients", "run", "--data", "o.tsv"]) == 1
    assert "the label 'great' (9 texts) was not seen in training" in capsys.readouterr().err
    assert main(["gradients", "run", "--set", "hidden_size=9"]) == 2
    assert "--set is for architectures as they begin" in capsys.readouterr().err
    assert main(["gradients", "run", "bigru"]) == 0
    assert "bigru: its head sees early steps directly too" in capsys.readouterr().err
