"""Text that a network writes: how a token is drawn, the state that is carried, seeds; and the command."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from corinth.cli import main
from corinth.data import SequenceData, open_data
from corinth.data.sequences.language_encoding import LanguageEncoding
from corinth.errors import UsageError
from corinth.predictor import LanguageModel
from corinth.predictor.sampling import draw, next_probs
from corinth.registry import create_model
from corinth.weights import save_model
from random_tensors import randomise
from running_text import made_up, write

ARCHS = ("lstm", "gru", "rnn_relu", "lstm_peephole", "lstm_layernorm")


@pytest.fixture(scope="module")
def encoding(tmp_path_factory: pytest.TempPathFactory) -> LanguageEncoding:
    data = open_data(write(tmp_path_factory.mktemp("text") / "farm.txt"))
    assert isinstance(data, SequenceData)
    return LanguageEncoding.trained(data, unit="char", vocab_size=100, lowercase=False, max_len=16)


def network(encoding: LanguageEncoding, arch: str = "lstm") -> Any:
    count = encoding.vocab_size
    options = {"hidden_size": 16, "input_size": 8, "num_layers": 2, "pool": "none", "drop_rate": 0.5}
    return randomise(create_model(arch, vocab_size=count, num_classes=count, **options))


@pytest.fixture(scope="module")
def model(encoding: LanguageEncoding) -> LanguageModel:
    return LanguageModel(network(encoding), encoding, (), "lstm", device="cpu")


@pytest.fixture(scope="module")
def folder(encoding: LanguageEncoding, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    save_model(path, network(encoding), arch="lstm", preprocess=encoding, classes=(), task="language-modeling")
    return path


# ---- one token ----


def allowed(probs: list[float], top_k: int | None, top_p: float | None) -> list[float]:
    """An independent `next_probs` at temperature 1, written for the eye."""
    places = sorted(range(len(probs)), key=lambda i: (-probs[i], i))[:top_k]
    whole = sum(probs[i] for i in places)
    kept, total = [], 0.0
    for place in places:
        if top_p is not None and total >= top_p:
            break
        kept.append(place)
        total += probs[place] / whole
    return [probs[i] / sum(probs[k] for k in kept) if i in kept else 0.0 for i in range(len(probs))]


@pytest.mark.parametrize("top_k", [None, 1, 3, 50])
@pytest.mark.parametrize("top_p", [None, 0.01, 0.5, 0.9, 1.0])
def test_the_probabilities_that_are_drawn_by(top_k: int | None, top_p: float | None) -> None:
    logits = torch.randn(12, generator=torch.Generator().manual_seed(1)) * 2
    for temperature in (0.3, 1.0, 2.5):
        weights = np.exp(logits.double().numpy() / temperature)
        wanted = allowed((weights / weights.sum()).tolist(), top_k, top_p)
        found = next_probs(logits, temperature=temperature, top_k=top_k, top_p=top_p)
        assert found.tolist() == pytest.approx(wanted, abs=1e-12)


def test_the_first_of_equals_stays() -> None:
    assert next_probs(torch.zeros(4), top_k=2).tolist() == [0.5, 0.5, 0, 0]
    assert next_probs(torch.zeros(4), top_p=0.25).tolist() == [1, 0, 0, 0]
    assert next_probs(torch.tensor([1.0, 3, 3]), temperature=0).tolist() == [0, 1, 0]


def test_draws_follow_the_probabilities() -> None:
    probs = next_probs(torch.tensor([2.0, 1.0, 0.0, -1.0]), top_k=3)
    chance = torch.Generator().manual_seed(0)
    counts = np.bincount([draw(probs, chance) for _ in range(4000)], minlength=4) / 4000
    assert counts == pytest.approx(probs.numpy(), abs=0.03)
    assert counts[3] == 0


# ---- a text ----


def greedy(model: LanguageModel, tokens: list[int], length: int) -> list[int]:
    """By reading everything again for every token."""
    for _ in range(length):
        with torch.no_grad():
            logits: Tensor = model.model(torch.tensor([tokens]))[0, -1]
        tokens = [*tokens, 2 + int(logits[2:].argmax())]
    return tokens


@pytest.mark.parametrize("arch", ARCHS)
def test_the_likeliest_text_is_that_of_reading_all_again(arch: str, encoding: LanguageEncoding) -> None:
    model = LanguageModel(network(encoding, arch), encoding, (), arch, device="cpu")
    (found,) = model.generate("A dog", length=20, temperature=0)
    wanted = greedy(model, encoding.tokens("A dog")[0].tolist(), 20)
    assert found.prompt + found.text == encoding.decode(wanted)


def test_without_a_prompt_a_line_begins(model: LanguageModel) -> None:
    (found,) = model.generate(length=15, temperature=0)
    assert "\n" + found.text == model.generate("\n", length=15, temperature=0)[0].prompt + found.text
    assert found.text == model.generate("\n", length=15, temperature=0)[0].text


def test_each_token_is_read_once(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    forward = model.model.forward

    def counted(x: Tensor, *args: Any, **options: Any) -> Any:
        read.append(x.shape[1])
        return forward(x, *args, **options)

    monkeypatch.setattr(model.model, "forward", counted)
    model.generate("The cat", length=5)
    assert read == [7, 1, 1, 1, 1]


def test_a_seed_says_the_text(model: LanguageModel) -> None:
    three = [generation.text for generation in model.generate("The", samples=3, length=30)]
    assert len(set(three)) == 3
    assert [generation.text for generation in model.generate("The", samples=2, length=30)] == three[:2]
    assert model.generate("The", length=30, seed=1)[0].text != three[0]
    torch.rand(7)  # whatever else draws
    assert "".join(model.stream("The", length=30, sample=2)) == three[2]


def test_no_text_has_what_stands_for_no_character(encoding: LanguageEncoding) -> None:
    model = LanguageModel(network(encoding), encoding, (), "lstm", device="cpu")
    with torch.no_grad():
        model.model.head.bias[:2] = 50.0
    text = model.generate(length=50, temperature=3.0)[0].text
    assert len(text) == 50
    assert set(text) <= set(made_up())


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"prompt": "Zoë é"}, "the network has never seen 'Z', 'ë', 'é'; write the text without"),
        ({"temperature": -1.0}, "temperature -1 is not valid; it must be 0, for the likeliest token, or more"),
        ({"top_k": 0}, "top_k 0 is not valid; it must be a whole number from 1"),
        ({"top_p": 1.5}, "top_p 1.5 is not valid; it must be more than 0 and at most 1"),
        ({"length": -1}, "length -1 is not valid; it must be a whole number from 0"),
        ({"samples": 0}, "samples 0 is not valid; it must be a whole number from 1"),
    ],
)
def test_what_is_refused(how: dict[str, Any], said: str, model: LanguageModel) -> None:
    with pytest.raises(UsageError) as caught:
        model.generate(**how)
    assert said in str(caught.value)
    if "samples" not in how:
        with pytest.raises(UsageError):
            model.stream(**how)  # before anything is taken from it


# ---- the command ----


def test_the_command_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = LanguageModel.from_run(folder)
    how = ["generate", str(folder), "--prompt", "The ", "--length", "40", "--seed", "3"]
    wanted = model.generate("The ", length=40, seed=3, samples=2)
    assert main(how) == 0
    assert capsys.readouterr().out == f"The {wanted[0].text}".rstrip("\n") + "\n"
    assert main([*how, "--samples", "2", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [generation.to_dict() for generation in wanted]
    assert main([*how, "--samples", "2", "--output", str(tmp_path / "out.txt")]) == 0
    written = (tmp_path / "out.txt").read_text(encoding="utf-8")
    assert written.startswith(f"--- sample 1 ---\nThe {wanted[0].text}\n--- sample 2 ---\nThe {wanted[1].text}"[:120])


def test_on_a_terminal_the_text_comes_as_it_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "flush", lambda: flushed.append(1))
    assert main(["generate", str(folder), "--prompt", "My", "--length", "12", "--top-k", "4", "--top-p", "0.8"]) == 0
    (wanted,) = LanguageModel.from_run(folder).generate("My", length=12, top_k=4, top_p=0.8)
    assert capsys.readouterr().out == f"My{wanted.text}\n"
    assert len(flushed) >= 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generate", "{run}", "--prompt", "§"], "the network has never seen '§'"),
        (["generate", "gone"], "there is no run gone"),
        (["generate", "{run}", "--seed", "-1"], "--seed -1 is not a whole number from 0"),
        (["predict", "{run}", "text"], "is a language model, which writes: use corinth generate"),
    ],
)
def test_what_the_command_refuses(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.format(run=folder) for word in words]) == 2
    assert said in capsys.readouterr().err


def test_other_networks_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from corinth.data import Preprocess

    preprocess = Preprocess(size=(28, 28), channels=1, mean=(0.0,), std=(1.0,))
    network = create_model("cnn", num_classes=2, in_chans=1)
    save_model(tmp_path, network, arch="cnn", preprocess=preprocess, classes=("a", "b"))
    assert main(["generate", str(tmp_path)]) == 2
    assert "does image-classification, and corinth generate is for language models" in capsys.readouterr().err


def test_evaluate_prints_nats_and_perplexity(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "other.txt", made_up(50, seed=3))
    assert main(["evaluate", str(folder), "--data", str(path)]) == 0
    out = capsys.readouterr().out
    assert "other, all of it, " in out
    for name in ("nats per character", "bits per character", "nats per token", "perplexity"):
        assert name in out
