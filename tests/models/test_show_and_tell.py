"""Networks that write about a picture or a class: against a plain twin, step by step, the contract."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import corinth
from corinth.errors import UsageError
from corinth.inspect import count_macs, count_params, latency, stages
from corinth.models.recurrent import show_and_tell
from corinth.models.recurrent.label_decoder import LabelDecoder, LabelDecoderConfig
from corinth.models.recurrent.show_and_tell import DecoderConfig, ShowAndTell, ShowAndTellConfig
from corinth.registry import configure
from corinth.training.recipe import recipe_for
from corinth.weights import load_backbone

NAMES = corinth.list_models(task="captioning") + corinth.list_models(task="text-from-label")
SIZES: dict[str, Any] = {"vocab_size": 11, "embed_dim": 6, "hidden_size": 8}
layers = pytest.mark.parametrize("num_layers", [1, 2])


def randomised(model: Any) -> Any:
    """Every tensor, running statistics too."""
    chance = torch.Generator().manual_seed(2)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            fan = math.prod(value.shape[1:])  # so that nothing saturates
            drawn = torch.randn(value.shape, generator=chance) / math.sqrt(fan)
            value.copy_(drawn.abs() + 0.1 if "running_var" in name else drawn)
    return model


def captioner(**options: Any) -> Any:
    return randomised(ShowAndTell(ShowAndTellConfig(**SIZES, **options)))


def writer(**options: Any) -> Any:
    return randomised(LabelDecoder(LabelDecoderConfig(**SIZES, num_classes=3, **options)))


def pictures(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def tokens(count: int = 3, steps: int = 4, seed: int = 3) -> Tensor:
    return torch.randint(SIZES["vocab_size"], (count, steps), generator=torch.Generator().manual_seed(seed))


def plain(decoder: Any, cfg: DecoderConfig, first: Tensor, target: Tensor) -> Tensor:
    """Logits (T, V) of one text (T,) behind a vector (E,): the papers' equations, one cell after the other."""
    state = [(torch.zeros(cfg.hidden_size), torch.zeros(cfg.hidden_size)) for _ in range(cfg.num_layers)]
    logits = []
    for step, x in enumerate([first, *decoder.embed.weight[target]]):
        for number in range(cfg.num_layers):
            cell = nn.LSTMCell(len(x), cfg.hidden_size)
            own = {name: getattr(decoder.lstm.rnn, f"{name}_l{number}") for name, _ in cell.named_parameters()}
            state[number] = torch.func.functional_call(cell, own, (x, state[number]))
            x = state[number][0]
        if step:  # what comes behind the vector itself is the beginning, which nobody asks for
            logits.append(decoder.head.weight @ x + decoder.head.bias)
    return torch.stack(logits)


def same(model: Any, found: Tensor, truth: Tensor) -> None:
    """Outputs, and the gradient of every parameter."""
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-9)
    weight = torch.randn(truth.shape, generator=torch.Generator().manual_seed(4)).double()
    parameters = dict(model.named_parameters())
    ours = torch.autograd.grad((found * weight).sum(), list(parameters.values()), retain_graph=True)
    theirs = torch.autograd.grad((truth * weight).sum(), list(parameters.values()))
    for name, a, b in zip(parameters, ours, theirs):
        assert b.any(), f"{name} plays no part in the twin"
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}")


@layers
def test_captions_are_those_of_the_plain_twin(num_layers: int) -> None:
    """The pooled features of the classifier itself, a linear layer, its norm, then cell by cell."""
    model = captioner(num_layers=num_layers).double().eval()
    x, target = pictures().double(), tokens()
    pooled: Any = corinth.create_model("resnet20_cifar10", num_classes=0).double().eval()
    own = {name.removeprefix("body."): value for name, value in model.backbone.named_parameters()}
    own |= {name.removeprefix("body."): value for name, value in model.backbone.named_buffers()}
    torch.set_default_dtype(torch.float64)
    try:
        features = torch.func.functional_call(pooled, own, (x,))
        first = features @ model.project.weight.T + model.project.bias
        norm = model.norm
        first = (first - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        truth = torch.stack([plain(model.decoder, model.cfg, a, b) for a, b in zip(first, target)])
    finally:
        torch.set_default_dtype(torch.float32)
    same(model, model(x, target), truth)


@layers
def test_texts_of_a_class_are_those_of_the_plain_twin(num_layers: int) -> None:
    model, labels, target = writer(num_layers=num_layers).double().eval(), torch.tensor([2, 0, 1]), tokens()
    torch.set_default_dtype(torch.float64)
    try:
        vectors = model.label_embed.weight[labels]
        truth = torch.stack([plain(model.decoder, model.cfg, a, b) for a, b in zip(vectors, target)])
    finally:
        torch.set_default_dtype(torch.float32)
    same(model, model(labels, target), truth)


@layers
@pytest.mark.parametrize("kind", ["picture", "class"])
def test_writing_token_by_token_is_the_same_as_reading_all(kind: str, num_layers: int) -> None:
    model = (captioner if kind == "picture" else writer)(num_layers=num_layers).eval()
    inputs, target = pictures() if kind == "picture" else torch.tensor([2, 0, 1]), tokens()
    with torch.inference_mode():
        whole, state = model(inputs, target), model.encode(inputs)
        for step in range(4):
            logits, state = model.decode_step(state, target[:, step])
            torch.testing.assert_close(logits, whole[:, step], rtol=1e-4, atol=1e-5)
        rows = torch.tensor([2, 0, 2])
        chosen, _ = model.decode_step(state.select(rows), target[rows, 0])
        torch.testing.assert_close(chosen, model.decode_step(state, target[:, 0])[0][rows], rtol=1e-5, atol=1e-6)


def test_several_texts_of_one_picture_read_it_once() -> None:
    model, x, target, rows = captioner().eval(), pictures(2), tokens(), torch.tensor([1, 0, 1])
    seen: list[int] = []
    model.backbone.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    with torch.inference_mode():
        found = model(x, target, rows)
        assert seen == [2]
        torch.testing.assert_close(found, model(x[rows], target), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_exact(name: str) -> None:
    card = corinth.card(name)
    with torch.device("meta"):
        model = corinth.create_model(name)
    assert count_params(model) == card.params
    assert count_macs(model, card.input_size) == card.macs
    assert recipe_for(name, "pictures").optimizer == "adamw"
    assert dataclasses.replace(configure(name)) == configure(name)


@pytest.mark.parametrize("num_layers", [1, 3])
def test_the_formulas_count_the_decoder(num_layers: int) -> None:
    cfg = LabelDecoderConfig(**SIZES, num_classes=3, num_layers=num_layers)
    with torch.device("meta"):
        model = LabelDecoder(cfg)
    assert count_params(model) == 3 * cfg.embed_dim + show_and_tell.count_parameters(cfg)
    assert count_macs(model, (5,)) == show_and_tell.count_macs(cfg, 5)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_receives_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model: Any = corinth.create_model(name, **SIZES, drop_rate=0.1).train()
    x = torch.tensor([2, 0, 1]) if name == "label_decoder" else torch.randn(3, 3, 32, 32)
    labels = {"num_classes": 3} if name == "label_decoder" else {}
    model = corinth.create_model(name, **SIZES, **labels, drop_rate=0.1).train() if labels else model
    target = torch.arange(11)[None].expand(3, -1)  # every word
    F.cross_entropy(model(x, target).flatten(0, 1), tokens(3, 11, seed=5).flatten()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


def test_bfloat16_autocast_is_finite_and_near() -> None:
    model = captioner().eval()
    with torch.inference_mode():
        exact = model(pictures(), tokens())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(pictures(), tokens()).float()
    assert (found - exact).abs().max() < 0.2 * exact.abs().max()


def test_stages_are_the_backbone_s_own_and_the_decoder_is_last() -> None:
    names = [stage.name for stage in stages(captioner())]
    assert names[0].startswith("backbone.body.")
    assert names[-2:] == ["project", "decoder"]


def test_a_classifier_s_weights_fill_the_backbone(tmp_path: Path) -> None:
    classifier: Any = randomised(corinth.create_model("resnet20_cifar10"))
    save_file(classifier.state_dict(), tmp_path / "classifier.safetensors")
    model: Any = ShowAndTell(ShowAndTellConfig(**SIZES))
    assert load_backbone(model, tmp_path / "classifier.safetensors").loaded
    with torch.inference_mode():
        ours = model.eval().backbone(pictures())[0]
        torch.testing.assert_close(ours, classifier.eval().forward_features(pictures()), rtol=1e-4, atol=1e-5)


def test_latency_is_that_of_a_picture_and_a_caption() -> None:
    assert latency(captioner(), (3, 12, 12), 2, 1, seconds=0.05, min_runs=2).median_ms > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vocab_size": 0}, "vocab_size 0 is not a whole number of at least 1"),
        ({"hidden_size": 1.5}, "hidden_size 1.5"),
        ({"drop_rate": 1.0}, "drop_rate 1.0"),
        ({"backbone": ""}, "backbone '' is no name of an architecture"),
        ({"in_chans": 0}, "in_chans 0"),
    ],
)
def test_a_bad_value_names_its_field(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"show_and_tell: {said}"):
        corinth.create_model("show_and_tell", **options)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="backbone lenet5 works at one size of images only"):
        corinth.create_model("show_and_tell", backbone="lenet5")
    model = captioner().eval()
    with pytest.raises(UsageError, match="target token 11 is outside of the vocabulary, 0 to 10"):
        model(pictures(), torch.full((3, 2), 11))
    with pytest.raises(UsageError, match="target token -1 is outside"):
        model.decode_step(model.encode(pictures()), torch.full((3,), -1))
    with pytest.raises(UsageError, match=r"3 ?x ?3 pixels are too small"):
        model.encode(torch.zeros(1, 3, 3, 3))
    with pytest.raises(UsageError, match="class token 3 is outside of the vocabulary, 0 to 2"):
        writer().encode(torch.tensor([3]))
    with pytest.raises(UsageError, match=r"pictures are \(B, C, H, W\)"):
        model.encode(torch.zeros(3, 12, 12))


def test_one_picture_alone_is_trained_on_by_the_running_statistics() -> None:
    """As is left of a batch whose other pictures are damaged."""
    model = captioner()
    model.backbone.eval()
    alone = model.eval().first(pictures(1))
    model.norm.train()
    before = model.norm.running_mean.clone()
    torch.testing.assert_close(model.first(pictures(1)), alone)
    assert torch.equal(model.norm.running_mean, before)
    model.train().first(pictures(1)).sum().backward()
    assert model.norm.weight.grad is not None
