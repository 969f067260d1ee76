"""What timm and torchvision themselves write is read, what is written for them they read, and our table is theirs."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from corinth import create_model, list_models, load_weights
from corinth.data import Preprocess
from corinth.predictor import Classifier
from corinth.registry import entry
from corinth.weights.describing import needed_options
from corinth.weights.hub import torchvision_table
from corinth.weights.passport import convert
from fake_hub import Hub

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
    assert passport.converted == passport.round_trip == 0.0
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
    convert(
        tmp_path / "mine.pth", "mobilenetv3_small_100", tmp_path / f"own.{suffix}", to="torchvision",
        preprocess=SEEN, options=options,
    )  # fmt: skip
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
