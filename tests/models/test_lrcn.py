"""LRCN: a plain loop over frames with the same weights, clips of any length, the contract of its names."""

import copy
import dataclasses
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import corinth
from corinth.errors import UsageError
from corinth.models.recurrent import lrcn
from corinth.models.recurrent.lrcn import LRCNConfig, count_macs, count_parameters
from corinth.registry import configure
from random_tensors import randomise

NAMES = corinth.list_models("*lrcn*")
LENGTHS = torch.tensor([5, 1, 3])
B, T, C, SIDE = 3, 5, 2, 9
every_model = pytest.mark.parametrize("name", NAMES)


def build(name: str = "lrcn", **options: Any) -> Any:
    torch.manual_seed(0)
    usual = {"channels": (4, 6), "hidden_size": 5, "in_chans": C, "num_classes": 3}
    return corinth.create_model(name, **{**usual, **options})


def clips(batch: int = B) -> Tensor:
    return torch.randn(batch, T, C, SIDE, SIDE + 2, generator=torch.Generator().manual_seed(1))


class Plain(nn.Module):
    """The same network from torch's own parts, a clip and a frame at a time."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        cfg = model.cfg
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        chans = cfg.in_chans
        for width in cfg.channels:
            self.convs.append(nn.Conv2d(chans, width, 3, padding=1, bias=False))
            self.norms.append(nn.BatchNorm2d(width))
            chans = width
        kinds = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
        self.rnn = None
        if cfg.cell != "none":
            self.rnn = kinds[cfg.cell](chans, cfg.hidden_size, cfg.num_layers, bidirectional=cfg.bidirectional)
        self.head = nn.Linear(cfg.num_features, cfg.num_classes)
        names = {"cnn": None, "recurrent.rnn.": "rnn.", "head.": "head."}
        own = {}
        for key, value in model.state_dict().items():
            front = next(name for name in names if key.startswith(name))
            if front == "cnn":
                _, stage, layer, what = key.split(".")
                own[f"{('convs', 'norms')[int(layer)]}.{stage}.{what}"] = value.clone()
            else:
                own[f"{names[front]}{key.removeprefix(front)}"] = value.clone()
        self.load_state_dict(own)

    def features(self, frames: Tensor) -> Tensor:
        """All frames of the batch together, for the statistics of the norms."""
        for conv, norm in zip(self.convs, self.norms):
            frames = nn.functional.max_pool2d(torch.relu(norm(conv(frames))), 2)
        return frames.flatten(2).mean(2)

    def forward(self, x: Tensor, lengths: Tensor) -> list[Tensor]:
        seen = self.features(torch.cat([clip[:length] for clip, length in zip(x, lengths.tolist())]))
        found = []
        for features in seen.split(lengths.tolist()):
            if self.rnn is not None:
                features = self.rnn(features)[0]
            found.append(torch.stack([self.head(step) for step in features]))
        return found


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": "gru", "num_layers": 2},
        {"cell": "rnn", "bidirectional": True},
        {"bidirectional": True, "num_layers": 2},
        {"cell": "none"},
    ],
)
def test_parity_with_a_plain_loop_over_frames(options: dict[str, Any], training: bool) -> None:
    """Logits, and gradients of all weights and of the frames; what is behind an end is as if it were not there."""
    model = build(**options)
    randomise(model)
    model.train(training)
    peer = Plain(model).train(training)
    x, other = clips().requires_grad_(), clips().requires_grad_()
    found, expected = model(x, LENGTHS), peer(other, LENGTHS)
    for row, (logits, length) in enumerate(zip(expected, LENGTHS.tolist())):
        torch.testing.assert_close(found[row, :length], logits, rtol=1e-4, atol=1e-5)
    weight = torch.linspace(-1, 1, T * 3).view(T, 3)
    sum((found[row, :n] * weight[:n]).sum() for row, n in enumerate(LENGTHS.tolist())).backward()  # ty: ignore
    sum((logits * weight[: len(logits)]).sum() for logits in expected).backward()  # ty: ignore
    torch.testing.assert_close(x.grad, other.grad, rtol=1e-3, atol=1e-5)
    ours, theirs = dict(Plain(model).named_parameters()), dict(peer.named_parameters())
    assert ours.keys() == theirs.keys()
    grads = {key: parameter.grad for key, parameter in model.named_parameters()}
    assert all(grad is not None and grad.any() for grad in grads.values())
    twin = copy.deepcopy(model)
    for key, parameter in twin.named_parameters():
        parameter.data.copy_(grads[key])
    for key, grad in Plain(twin).named_parameters():
        torch.testing.assert_close(grad.data, theirs[key].grad, rtol=1e-3, atol=1e-5)


@every_model
def test_what_is_padded_changes_nothing(name: str) -> None:
    model = randomise(build(name)).train()
    x = clips()
    torch.manual_seed(3)
    before = model(x, LENGTHS)
    statistics = {key: value.clone() for key, value in model.state_dict().items() if "running" in key}
    for row, length in enumerate(LENGTHS.tolist()):
        x[row, length:] = torch.nan
    again = randomise(build(name)).train()
    after = again(x, LENGTHS)
    torch.testing.assert_close(before, after)
    for key, value in statistics.items():
        torch.testing.assert_close(value, again.state_dict()[key])
    after.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in again.parameters())
    with torch.no_grad():
        alone = again.eval()(clips()[2:, :3])
        torch.testing.assert_close(again(x, LENGTHS)[2:, :3], alone)


def test_a_frame_is_looked_at_alone_without_recurrence() -> None:
    model, x = randomise(build(cell="none")).eval(), clips()
    with torch.no_grad():
        order = torch.tensor([3, 1, 4, 0, 2])
        torch.testing.assert_close(model(x[:, order]), model(x)[:, order])
        other = randomise(build()).eval()
        assert not torch.allclose(other(x[:, order]), other(x)[:, order])


def test_many_frames_go_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = randomise(build()).eval(), clips()
    whole = model(x, LENGTHS)
    monkeypatch.setattr(lrcn, "AT_ONCE", 2)
    with torch.no_grad():
        torch.testing.assert_close(model(x, LENGTHS), whole)


@every_model
def test_the_card_is_exact(name: str) -> None:
    card = corinth.card(name)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = corinth.create_model(name).eval()
        logits = model(torch.empty(1, *card.input_size))
    assert sum(p.numel() for p in model.parameters()) == card.params
    assert counter.get_total_flops() == 2 * card.macs
    assert logits.shape == (1, card.input_size[0], configure(name).num_classes)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "none"])
def test_counts_by_the_formula(cell: Any) -> None:
    cfg = LRCNConfig(channels=(3, 5, 4), cell=cell, hidden_size=6, num_layers=2, in_chans=2, num_classes=7)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = lrcn.LRCN(cfg).eval()
        model(torch.empty(1, 4, 2, 19, 30))
    assert sum(p.numel() for p in model.parameters()) == count_parameters(cfg)
    assert counter.get_total_flops() == 2 * count_macs(cfg, 4, 19, 30)


@every_model
def test_heads(name: str) -> None:
    model = build(name).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.reset_head(2)
    assert model.cfg.num_classes == 2
    assert model(clips()).shape == (B, T, 2)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items() if "head" not in key)
    bare = build(name, num_classes=0).eval()
    assert bare(clips()).shape == (B, T, bare.cfg.num_features)
    missing, unexpected = bare.load_state_dict(before, strict=False)
    assert (missing, unexpected) == ([], ["head.weight", "head.bias"])
    with torch.no_grad():
        torch.testing.assert_close(bare(clips()), bare.forward_features(clips()))


@every_model
def test_export(name: str) -> None:
    model, x = build(name).eval(), clips()
    with torch.no_grad():
        for arguments in ((x,), (x, LENGTHS)):
            program = torch.export.export(model, arguments)
            torch.testing.assert_close(program.module()(*arguments), model(*arguments), rtol=1e-4, atol=1e-5)


@every_model
def test_saved_seeded_and_in_other_forms(name: str) -> None:
    model, x = build(name).eval(), clips()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    copied = corinth.create_model(name, channels=(4, 6), hidden_size=5, in_chans=C, num_classes=3).eval()
    copied.load_state_dict(torch.load(file, weights_only=True))
    with torch.inference_mode():
        torch.testing.assert_close(copied(x, LENGTHS), model(x, LENGTHS))
        again = build(name).state_dict()
        assert all(torch.equal(again[key], value) for key, value in model.state_dict().items())
        torch.testing.assert_close(copied.to(memory_format=torch.channels_last)(x, LENGTHS), model(x, LENGTHS))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model(x, LENGTHS).isfinite().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cell": "transformer"}, "cell 'transformer' is none of lstm, gru, rnn, none"),
        ({"cell": "none", "bidirectional": True}, "bidirectional True is for a recurrent cell"),
        ({"channels": ()}, r"channels \(\) needs at least one stage"),
        ({"channels": (4, 0)}, "channels 0 is not a whole number of at least 1"),
        ({"hidden_size": 0}, "hidden_size 0 is not"),
        ({"drop_rate": 1.0}, "drop_rate 1.0 is not in"),
        ({"in_chans": 0}, "in_chans 0 is not"),
        ({"num_classes": -1}, "num_classes -1 is not"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(LRCNConfig(), **options)


def test_clips_that_do_not_fit_are_refused() -> None:
    model = build()
    with pytest.raises(UsageError, match=r"clips of shape \(3, 5, 1, 9, 11\) do not fit .* needs \(B, T, 2, H, W\)"):
        model(clips()[:, :, :1])
    with pytest.raises(UsageError, match="the clips have no frames"):
        model(clips()[:, :0])
    with pytest.raises(UsageError, match="images of 3x11 pixels are too small for this network; it needs 4x4"):
        model(clips()[..., :3, :])
    with pytest.raises(UsageError, match=r"lengths\[1\] is 6"):
        model(clips(), torch.tensor([1, 6, 1]))
    with pytest.raises(UsageError, match=r"lengths\[2\] is 0"):
        model(clips(), torch.tensor([1, 5, 0]))
