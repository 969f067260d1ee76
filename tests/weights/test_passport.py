"""Conversion: nothing changes on the way, the passport says so, and what does not belong is refused."""

import dataclasses
import json
import sys
import types
from pathlib import Path

import pytest
import safetensors.torch
import torch

from corinth import create_model, load_weights
from corinth.data import Preprocess
from corinth.errors import CorinthError
from corinth.predictor import Classifier, load_run
from corinth.weights import library, load_model, read_config, save_model
from corinth.weights.passport import convert, passport_of
from fake_hub import Hub, state_in

ARCH = "mobilenetv3_small_050"
ID = f"timm:{ARCH}.test_in1k"
REVISION = "a" * 40
SEEN = Preprocess(size=(32, 32), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture
def served(hub: Hub) -> str:
    return hub.add(f"timm/{ARCH}.test_in1k", REVISION, ARCH, state_in("timm", ARCH, num_classes=4), num_classes=4)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A trainer's checkpoint of 3 classes and 1 channel, under torchvision's names, in half precision."""
    state = state_in("torchvision", "resnet18", num_classes=3, in_chans=1, width=8)
    torch.save({"state_dict": {f"module.{name}": t for name, t in state.items()}}, tmp_path / "mine.pth")
    return tmp_path / "mine.pth"


def outputs(model: torch.nn.Module, channels: int = 3) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(torch.linspace(-1, 1, channels * 64 * 64).view(1, channels, 64, 64))


def test_a_hubs_weights_into_our_form(served: str, tmp_path: Path) -> None:
    passport = convert(ID, ARCH, tmp_path / "own")
    assert (passport.read_again, passport.round_trip) == (0.0, 0.0)
    assert (passport.sha256, passport.revision, passport.licence) == (served, REVISION, "apache-2.0")
    assert (passport.title, passport.read_as, passport.written_as) == (ID, "timm", "corinth")
    assert str(passport.url).endswith(f"/timm/{ARCH}.test_in1k/resolve/{REVISION}/model.safetensors")
    assert passport.keys["stem.conv.weight"] == "conv_stem.weight"
    assert passport.options == {"num_classes": 4}
    assert list(passport.reshaped)
    assert not passport.ignored
    assert passport.probe == "1x3x64x64 normal numbers of seed 0"
    assert json.loads((tmp_path / "own" / "passport.json").read_text()) == json.loads(json.dumps(passport.to_dict()))
    model, config = load_model(tmp_path / "own")
    assert config.source == json.loads(json.dumps(passport.to_source()))
    assert config.preprocess.interpolation == "bicubic"
    assert torch.equal(outputs(model), outputs(create_model(ARCH, num_classes=4, weights=ID)))
    assert Classifier.from_run(tmp_path / "own", device="cpu").classes == ("0", "1", "2", "3")


def test_the_same_source_gives_the_same_bytes(served: str, tmp_path: Path) -> None:
    for to, name in (("corinth", "w.safetensors"), ("timm", "w.safetensors"), ("timm", "v.pth"), ("timm", "folder")):
        for copy in "ab":
            (tmp_path / copy / to).mkdir(parents=True, exist_ok=True)
            convert(ID, ARCH, tmp_path / copy / to / name, to=to)  # ty: ignore[invalid-argument-type]
    first, second = ({p.relative_to(tmp_path / c): p for p in (tmp_path / c).rglob("*.*")} for c in "ab")
    assert len(first) == 9, first
    for name in first:
        assert first[name].read_bytes() == second[name].read_bytes()


class Odd(types.ModuleType):
    """A release of timm that has no such network, as somebody copied it."""

    def create_model(self, *_: object, **__: object) -> None:
        raise RuntimeError("Unknown model")


def test_a_library_that_cannot_build_it_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", Odd("timm"))
    monkeypatch.setattr(library, "_version", lambda _: None)
    model = create_model("mobilenetv3_small_050")
    check = library.check_in_library("timm", {}, model, "mobilenetv3_small_050", torch.zeros(1, 3, 32, 32))
    assert str(check) == "not compared: this timm builds no mobilenetv3_small_050 (Unknown model)"
    assert check.agrees


def test_without_the_sources_library_the_passport_says_so(
    served: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    (check,) = convert(ID, ARCH, tmp_path / "own").libraries
    assert (check.library, check.version, check.difference) == ("timm", None, None)
    assert str(check) == "not compared: timm is not installed here"
    stated = json.loads((tmp_path / "own" / "passport.json").read_text())["libraries"]
    assert stated == [dataclasses.asdict(check)]
    assert "libraries" not in (read_config(tmp_path / "own").source or {}), "the weights' bytes depend on no library"
    own, out = convert(tmp_path / "own", ARCH, tmp_path / "t.pth", to="timm").libraries
    assert own.not_made == "these are Corinth's own names"
    assert out.not_made == check.not_made
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms is missing')")
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    grey = dataclasses.replace(SEEN, channels=1, mean=(0.5,), std=(0.25,))
    (check,) = convert(
        checkpoint, "resnet18", tmp_path / "g", preprocess=grey, classes="abc", options={"width": 8}
    ).libraries
    assert check.not_made == "torchvision cannot be imported here (operator torchvision::nms is missing)"


def test_one_file_stands_alone(served: str, tmp_path: Path) -> None:
    passport = convert(ID, ARCH, tmp_path / "w.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["w.passport.json", "w.safetensors"]
    assert passport_of(tmp_path / "w.safetensors") == tmp_path / "w.passport.json"
    assert read_config(tmp_path / "w.safetensors").source == json.loads(json.dumps(passport.to_source()))


def test_out_again_as_timm_has_it(hub: Hub, served: str, tmp_path: Path) -> None:
    convert(ID, ARCH, tmp_path / "own")
    passport = convert(tmp_path / "own", ARCH, tmp_path / "out", to="timm")
    assert (passport.read_again, passport.round_trip) == (0.0, 0.0)
    assert (passport.licence, passport.revision) == ("apache-2.0", REVISION)
    assert passport.written_keys is not None
    assert passport.written_keys["stem.conv.weight"] == "conv_stem.weight"
    original = safetensors.torch.load(hub.repositories[f"timm/{ARCH}.test_in1k"][REVISION]["model.safetensors"])
    written = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert written.keys() == original.keys()
    assert all(torch.equal(written[name], original[name]) for name in original)
    predictor = Classifier.from_weights(ARCH, tmp_path / "out", device="cpu")
    assert predictor.preprocess == read_config(tmp_path / "own").preprocess
    direct = create_model(ARCH, num_classes=4, weights=ID)
    torch.testing.assert_close(outputs(predictor.model), outputs(direct))  # the predictor's is channels_last


def test_a_checkpoint_of_ones_own(checkpoint: Path, tmp_path: Path) -> None:
    seen = Preprocess(size=(32, 32), channels=1, mean=(0.5,), std=(0.25,))
    passport = convert(
        checkpoint, "resnet18", tmp_path / "own", preprocess=seen, classes=("a", "b", "c"), options={"width": 8}
    )
    assert (passport.read_again, passport.round_trip) == (0.0, 0.0)
    assert passport.keys["stem.conv.weight"] == "conv1.weight"
    assert passport.options == {"num_classes": 3, "in_chans": 1, "width": 8}
    assert passport.licence == "not stated"
    assert "the prefix 'module.' was taken off every name" in passport.notes
    predictor = Classifier.from_run(tmp_path / "own", device="cpu")
    assert (predictor.classes, predictor.preprocess) == (("a", "b", "c"), seen)
    direct = create_model("resnet18", width=8, num_classes=3, in_chans=1, weights=checkpoint)
    assert torch.equal(outputs(predictor.model, 1), outputs(direct, 1))


def test_auxiliary_heads_come_along(tmp_path: Path) -> None:
    small = {"num_classes": 2, "aux_heads": True}
    torch.save(state_in("torchvision", "googlenet_bn", **small), tmp_path / "g.pth")
    passport = convert(tmp_path / "g.pth", "googlenet_bn", tmp_path / "g.safetensors", preprocess=SEEN)
    assert passport.options == small
    assert not passport.ignored
    assert passport.read_again == passport.round_trip == 0.0
    assert any("mean 0.5 and std 0.5" in note for note in passport.notes)


def test_from_one_library_to_the_other(tmp_path: Path) -> None:
    state = state_in("timm", "mobilenetv3_small_100", num_classes=2)
    torch.save(state, tmp_path / "m.pth")
    passport = convert(
        tmp_path / "m.pth", "mobilenetv3_small_100", tmp_path / "out.pth", to="torchvision", preprocess=SEEN
    )
    assert passport.notes[-1] == "torchvision builds this network with norm_eps=0.001, and these weights want 1e-05"
    model = create_model("mobilenetv3_small_100", num_classes=2)
    report = load_weights(model, tmp_path / "out.pth", source="torchvision")
    assert report.exact or (set(report.reshaped) and not report.missing)
    again = create_model("mobilenetv3_small_100", num_classes=2)
    load_weights(again, state, source="timm")
    assert torch.equal(outputs(model), outputs(again))


def refused(match: str, source: str | Path, arch: str, output: Path, **options) -> None:
    with pytest.raises(CorinthError, match=match) as caught:
        convert(source, arch, output, **options)
    assert "\n" not in str(caught.value)
    assert not output.is_file()


def test_another_architecture_width_or_form(hub: Hub, served: str, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(f"holds the architecture {ARCH}, not mobilenetv3_small_100: the one has ", ID, "mobilenetv3_small_100", out)
    refused(r"bn1\.weight is \(8,\) where \(64,\) is needed", checkpoint, "resnet18", out, preprocess=SEEN)
    refused("is no checkpoint of vgg11|does not fit vgg11", checkpoint, "vgg11", out, preprocess=SEEN)
    hub.add("timm/tf_x.in1k", REVISION, "tf_mobilenetv3_small_100", {"a": torch.zeros(1)})
    refused(
        "timm:tf_x.in1k holds the architecture tf_mobilenetv3_small_100, not mobilenetv3_small_100: "
        "the one has same_padding=True",
        "timm:tf_x.in1k",
        "mobilenetv3_small_100",
        out,
    )
    assert not out.exists()


def test_what_convert_needs_to_be_told(checkpoint: Path, served: str, tmp_path: Path) -> None:
    small = {"options": {"width": 8}}
    refused("the preprocessing of .*mine.pth is not known", checkpoint, "resnet18", tmp_path / "out", **small)
    grey = dataclasses.replace(SEEN, channels=1, mean=(0.5,), std=(0.25,))
    refused("images of 1 channels, and the preprocessing is for 3", checkpoint, "resnet18", tmp_path / "out",
            preprocess=SEEN, **small)  # fmt: skip
    refused("has 3 classes, and 2 names are given", checkpoint, "resnet18", tmp_path / "out",
            preprocess=grey, classes=("a", "b"), **small)  # fmt: skip
    refused("has nothing for head.weight", ID, ARCH, tmp_path / "out", options={"num_classes": 9})
    refused("neither a folder nor a .safetensors file", ID, ARCH, tmp_path / "out.pth")
    refused("neither a folder nor a .safetensors or .pth or .pt file", ID, ARCH, tmp_path / "out.bin", to="timm")
    refused("to 'onnx' is none of corinth, torchvision, timm", ID, ARCH, tmp_path / "out", to="onnx")
    refused("no weights layout 'plain'", ID, ARCH, tmp_path / "out", layout="plain")


def test_what_gives_other_outputs_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    grey = dataclasses.replace(SEEN, channels=1, mean=(0.5,), std=(0.25,))
    saved = torch.load(checkpoint, weights_only=True)
    state = saved.get("state_dict", saved)
    next(tensor for name, tensor in state.items() if name.endswith("fc.bias"))[0] = torch.nan
    torch.save(saved, tmp_path / "nan.pth")
    given = {"preprocess": grey, "options": {"width": 8}, "classes": ("a", "b", "c")}
    refused("gives other outputs once converted", tmp_path / "nan.pth", "resnet18", tmp_path / "out", **given)
    refused("gives other outputs", tmp_path / "nan.pth", "resnet18", tmp_path / "t", to="timm", **given)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "t").exists()


def test_nothing_is_overwritten(served: str, tmp_path: Path) -> None:
    convert(ID, ARCH, tmp_path / "own")
    refused(r"model\.safetensors is there already", ID, ARCH, tmp_path / "own")
    refused(r"model\.safetensors is there already", tmp_path / "own", ARCH, tmp_path / "own", to="timm")
    (tmp_path / "own" / "model.safetensors").unlink()
    refused(r"passport\.json is there already", ID, ARCH, tmp_path / "own")


def test_ones_own_run_says_itself_what_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("lenet5", activation="tanh")
    seen = Preprocess(size=(32, 32), channels=1, mean=(0.0,), std=(1.0,))
    save_model(tmp_path / "run", model, arch="lenet5", preprocess=seen, classes=tuple("0123456789"))
    passport = convert(tmp_path / "run", "lenet5", tmp_path / "copy.safetensors")
    assert passport.options == {"activation": "tanh"}
    assert passport.read_again == 0.0
    refused("says what it was created with", tmp_path / "run", "lenet5", tmp_path / "o", options={"pool": "avg"})
    refused("holds the architecture lenet5, not resnet18", tmp_path / "run", "resnet18", tmp_path / "o")
    refused("Corinth's own; its layout is not timm", tmp_path / "run", "lenet5", tmp_path / "o", layout="timm")
    refused("lenet5 has no timm|no weights layout 'timm'", tmp_path / "run", "lenet5", tmp_path / "o", to="timm")


@pytest.mark.parametrize(
    ("arch", "task", "options"),
    [
        ("unet", "semantic-segmentation", {"width": 2, "depth": 2}),
        ("fcos_mobilenetv2_100", "object-detection", {"backbone": ARCH, "channels": 16, "norm_groups": 8}),
    ],
)
def test_networks_for_masks_and_boxes_stay_what_they_are(arch: str, task: str, options: dict, tmp_path: Path) -> None:
    model = create_model(arch, num_classes=2, in_chans=1, **options)
    seen = Preprocess(size=(64, 64), channels=1, mean=(0.5,), std=(0.25,), fit="pad")
    save_model(tmp_path / "run", model, arch=arch, preprocess=seen, classes=("a", "b"))
    assert read_config(tmp_path / "run").task == task
    passport = convert(tmp_path / "run", arch, tmp_path / "converted")
    assert (passport.read_again, passport.round_trip) == (0.0, 0.0)
    assert load_run(tmp_path / "converted", device="cpu").task == task
