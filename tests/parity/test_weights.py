"""What timm and torchvision themselves write is read, what is written for them they read, and our table is theirs."""

import dataclasses
import importlib.util
import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corinth import create_model, list_models, load_weights
from corinth.data import Preprocess
from corinth.errors import WeightsError
from corinth.models.convolutional.mobilenetv3 import MobileNetV3
from corinth.predictor import Classifier
from corinth.registry import entry
from corinth.weights import library, timm
from corinth.weights.describing import needed_options
from corinth.weights.hub import torchvision_table
from corinth.weights.keymap import Rule
from corinth.weights.passport import Passport, convert
from fake_hub import Hub, state_in

pytestmark = pytest.mark.parity
ROOT = Path(__file__).parents[2]
ARCH = "mobilenetv3_small_050"
SEEN = Preprocess(size=(48, 48), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3, crop_pct=0.9, interpolation="bicubic")


def randomised(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) * 0.02)
    return model.eval()


@torch.inference_mode()
def outputs(model: nn.Module) -> Tensor:
    return model.eval()(torch.linspace(-1, 1, 3 * 48 * 48).view(1, 3, 48, 48))


def compared(passport: Passport, *libraries: tuple[str, str, str]) -> None:
    """Each of them was asked, and answered as Corinth does."""
    assert [(check.library, check.version, check.network) for check in passport.libraries] == list(libraries)
    for check in passport.libraries:
        assert check.not_made is None
        assert check.largest is not None
        assert check.largest > 1e-3
        assert check.agrees


def test_the_table_is_what_torchvision_says(peers: SimpleNamespace) -> None:
    generator = importlib.util.spec_from_file_location("torchvision_weights", ROOT / "tools" / "torchvision_weights.py")
    assert generator is not None
    assert generator.loader is not None
    module = importlib.util.module_from_spec(generator)
    generator.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            torch.library, "Library", lambda *_: SimpleNamespace(define=lambda _: None)
        )  # they are declared
        rows = module.rows(module.load_torchvision())
    assert rows == list(torchvision_table())


@pytest.mark.parametrize("model", sorted({row["model"] for row in torchvision_table()}))
def test_networks_of_the_table(peers: SimpleNamespace, model: str) -> None:
    """torchvision's names all have a place, and the batch norms the epsilon that the weights were trained with."""
    row = next(row for row in torchvision_table() if row["model"] == model)
    (name,) = (name for name in list_models() if f"torchvision:{model}" in entry(name).card.references)
    config = entry(name).config
    options = {"norm_eps": row["norm_eps"]} if hasattr(config, "norm_eps") else {}
    options |= {"aux_heads": True} if row["aux_heads"] else {}
    with torch.device("meta"):
        ours = create_model(name, **options)
        theirs = getattr(peers.torchvision, model)(**({"init_weights": False} if row["aux_heads"] else {}))
    report = load_weights(ours, theirs.state_dict(), source="torchvision", arch=name)
    assert not report.missing
    assert not report.unexpected
    eps = {module.eps for module in ours.modules() if isinstance(module, nn.BatchNorm2d)}
    assert eps == (set() if row["norm_eps"] is None else {row["norm_eps"]})


def test_what_timm_saves_for_the_hub(peers: SimpleNamespace, hub: Hub, tmp_path: Path) -> None:
    theirs = randomised(peers.timm.create_model(ARCH, num_classes=5))
    peers.timm.models.save_for_hf(theirs, tmp_path / "saved", safe_serialization=True)
    hub.repositories[f"timm/{ARCH}.x"] = {
        "a" * 40: {file.name: file.read_bytes() for file in (tmp_path / "saved").iterdir()}
    }
    predictor = Classifier.from_weights(ARCH, f"timm:{ARCH}.x", device="cpu")
    torch.testing.assert_close(outputs(predictor.model), outputs(theirs))
    wanted = peers.timm.data.resolve_model_data_config(theirs)
    seen = predictor.preprocess
    assert (seen.channels, *seen.size) == wanted["input_size"]
    assert (seen.mean, seen.std) == (wanted["mean"], wanted["std"])
    assert (seen.crop_pct, seen.interpolation) == (wanted["crop_pct"], wanted["interpolation"])


def test_timm_opens_what_is_written_for_it(peers: SimpleNamespace, tmp_path: Path) -> None:
    theirs = randomised(peers.timm.create_model(ARCH, num_classes=5))
    torch.save(theirs.state_dict(), tmp_path / "mine.pth")
    passport = convert(tmp_path / "mine.pth", ARCH, tmp_path / "out", to="timm", preprocess=SEEN, layout="timm")
    assert passport.read_again == passport.round_trip == 0.0
    compared(passport, ("timm", peers.timm.__version__, ARCH))
    again = peers.timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert torch.equal(outputs(again), outputs(theirs))
    wanted = peers.timm.data.resolve_model_data_config(again)
    assert (tuple(wanted["input_size"]), wanted["crop_pct"], wanted["interpolation"]) == ((3, 48, 48), 0.9, "bicubic")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architecture"] == ARCH


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_torchvision_opens_what_is_written_for_it(peers: SimpleNamespace, tmp_path: Path, suffix: str) -> None:
    theirs = randomised(peers.torchvision.mobilenet_v3_small(num_classes=5))
    torch.save(theirs.state_dict(), tmp_path / "mine.pth")
    options = {"norm_eps": 1e-3}
    passport = convert(
        tmp_path / "mine.pth", "mobilenetv3_small_100", tmp_path / f"own.{suffix}", to="torchvision",
        preprocess=SEEN, options=options,
    )  # fmt: skip
    compared(passport, ("torchvision", version("torchvision"), "mobilenet_v3_small"))
    again = peers.torchvision.mobilenet_v3_small(num_classes=5)
    file = tmp_path / f"own.{suffix}"
    if suffix == "pth":
        state = torch.load(file, weights_only=True)
    else:
        import safetensors.torch

        state = safetensors.torch.load_file(file)
    again.load_state_dict(state, strict=True)
    assert torch.equal(outputs(again), outputs(theirs))
    assert needed_options(file, "mobilenetv3_small_100") == {}


@pytest.mark.parametrize(
    ("name", "arch", "options"),
    [
        ("resnet18", "resnet18", {}),
        ("densenet121", "densenet121", {}),
        ("googlenet", "googlenet_bn", {"aux_logits": True, "init_weights": False}),
    ],
)
def test_the_passport_compares_with_torchvision(
    peers: SimpleNamespace, tmp_path: Path, name: str, arch: str, options: dict
) -> None:
    """As its public files are: older names of DenseNet, no step counters, auxiliary heads."""
    theirs = randomised(getattr(peers.torchvision, name)(num_classes=5, **options))
    state = {
        key.replace("norm1", "norm.1").replace("conv2", "conv.2") if "denselayer" in key else key: tensor
        for key, tensor in theirs.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "mine.pth")
    passport = convert(tmp_path / "mine.pth", arch, tmp_path / "own", preprocess=SEEN, layout="torchvision")
    compared(passport, ("torchvision", version("torchvision"), name))


def test_the_passport_compares_with_both(peers: SimpleNamespace, tmp_path: Path) -> None:
    theirs = randomised(peers.timm.create_model("vgg11", num_classes=5))
    torch.save(theirs.state_dict(), tmp_path / "mine.pth")
    passport = convert(tmp_path / "mine.pth", "vgg11", tmp_path / "own.pth", to="torchvision", preprocess=SEEN)
    compared(
        passport, ("timm", peers.timm.__version__, "vgg11"), ("torchvision", version("torchvision"), "vgg11")
    )  # fmt: skip


def test_a_wrong_key_map_is_seen(peers: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tensors of one shape change places: Corinth alone cannot see it, as its way out makes the same mistake."""
    theirs = randomised(peers.timm.create_model(ARCH, num_classes=5))
    torch.save(theirs.state_dict(), tmp_path / "mine.pth")
    right = timm.mobilenetv3

    def wrong(cfg):
        keys = right(cfg)
        rules = [rule for rule in keys.rules if rule.theirs != "bn1.{}"]
        assert len(rules) == len(keys.rules) - 1
        parts = ("weight", "bias"), ("bias", "weight"), *((name, name) for name in ("running_mean", "running_var"))
        rules += [Rule(f"bn1.{its}", f"stem.norm.{own}") for its, own in (*parts, ("num_batches_tracked",) * 2)]
        return dataclasses.replace(keys, rules=tuple(rules))

    monkeypatch.setitem(timm.KEY_MAPS, MobileNetV3, wrong)
    given = {"preprocess": SEEN, "layout": "timm"}
    with pytest.raises(WeightsError, match=rf"other outputs in Corinth than in timm \S+ \({ARCH}\): they differ by"):
        convert(tmp_path / "mine.pth", ARCH, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(library, "MOST_DIFFERENCE", float("inf"))
    passport = convert(tmp_path / "mine.pth", ARCH, tmp_path / "out", **given)
    assert passport.read_again == passport.round_trip == 0.0
    (check,) = passport.libraries
    assert check.difference is not None
    assert check.difference > 1e-3


def test_why_a_network_is_not_compared(peers: SimpleNamespace, tmp_path: Path) -> None:
    def reason(arch: str, options: dict | None = None, **given: Any) -> str | None:
        torch.save(given.pop("state"), tmp_path / "mine.pth")
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        passport = convert(tmp_path / "mine.pth", arch, file, options=options, **{"preprocess": SEEN, **given})
        return passport.libraries[0].not_made

    grey = Preprocess(size=(48, 48), channels=1, mean=(0.5,), std=(0.25,))
    narrow = state_in("torchvision", "resnet18", num_classes=2, width=8)
    assert reason("resnet18", {"width": 8}, state=narrow) == "torchvision's resnet18 is not one with width=8"
    one = state_in("torchvision", "resnet18", num_classes=2, in_chans=1)
    assert reason("resnet18", state=one, preprocess=grey) == "torchvision has no resnet18 for 1 input channels"
    assert reason("resnet18", state=one, preprocess=grey, layout="timm") is None
    other_eps = state_in("torchvision", "mobilenetv3_small_100", num_classes=2)
    assert reason("mobilenetv3_small_100", state=other_eps) == (
        "torchvision builds mobilenet_v3_small with norm_eps=0.001, not 1e-05"
    )
    theirs = state_in("pytorchcv", "resnet18", num_classes=2)
    assert reason("resnet18", state=theirs) == "no library to compare with has 'pytorchcv'"
    headless = state_in("timm", "resnet18", num_classes=0)
    assert reason("resnet18", state=headless) == "there is no classifier whose outputs could be compared"
