"""Ids of hubs: what they mean, what is fetched and checked, what comes with the weights, and life without a network."""

import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from corinth import create_model, list_models, load_weights
from corinth.data import ImageData, Preprocess
from corinth.errors import CorinthError, UsageError, WeightsError
from corinth.predictor import Classifier
from corinth.registry import entry
from corinth.training import Recipe
from corinth.training.build import build_network
from corinth.weights import fetch, hub_id, known_checkpoint, read_config
from corinth.weights.hub import torchvision_table
from fake_hub import MEAN, STD, Hub, state_in

SMALL = "mobilenetv3_small_050"
TIMM = f"timm:{SMALL}.test_in1k"
FIRST, SECOND = "a" * 40, "b" * 40
TORCHVISION = "torchvision:MobileNet_V3_Small_Weights.IMAGENET1K_V1"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return state_in("timm", SMALL)


@pytest.fixture
def served(hub: Hub, state: dict[str, torch.Tensor]) -> str:
    """A small network of timm's on the hub; its sha256."""
    return hub.add(f"timm/{SMALL}.test_in1k", FIRST, SMALL, state)


def folder(weights: str) -> Path:
    wanted = hub_id(weights)
    assert wanted is not None
    return wanted.folder


def has(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return torch.equal(model.state_dict()["stem.conv.weight"], state["conv_stem.weight"])


def refused(match: str, weights: str = TIMM, arch: str = SMALL, **options) -> None:
    with pytest.raises(CorinthError, match=match) as caught:
        create_model(arch, weights=weights, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spelling",
    ["ResNet50_Weights.IMAGENET1K_V2", "ResNet50_Weights.DEFAULT", "ResNet50_Weights", "resnet50", "resnet50.default",
     "resnet50.imagenet1k_v2"],
)  # fmt: skip
def test_torchvisions_spellings_are_one(spelling: str) -> None:
    assert str(hub_id(f"torchvision:{spelling}")) == "torchvision:ResNet50_Weights.IMAGENET1K_V2"


@pytest.mark.parametrize("path", ["runs/timm", "timm.safetensors", "./timm:resnet50.a1_in1k", None, 3, {"timm": 1}])
def test_a_path_is_no_id(path: object) -> None:
    assert hub_id(path) is None
    assert hub_id(Path("timm:resnet50.a1_in1k")) is not None


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ("timm:resnet50", "timm:resnet50 names no weights; timm's are ARCHITECTURE.TAG"),
        ("timm:../etc.passwd", "names no weights"),
        ("timm:", "names no weights"),
        ("timm:a.b#sha256=12", "what follows # must be sha256= and 64 hexadecimal digits"),
        ("timm:a.b#main", "what follows #"),
        ("torchvision:resnet51", "no weights 'resnet51' that Corinth could load; did you mean resnet50 or"),
        ("torchvision:resnet50.IMAGENET1K_V3", "it has ResNet50_Weights.IMAGENET1K_V1 and ResNet50_Weights.IMAG"),
        ("torchvision:VGG16_Weights.IMAGENET1K_FEATURES", "it has VGG16_Weights.IMAGENET1K_V1"),
        ("torchvision:ViT_B_16_Weights.DEFAULT", "no weights 'ViT_B_16_Weights.DEFAULT'"),
    ],
)
def test_a_malformed_id(weights: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        hub_id(weights)


def test_from_the_hub_once_and_then_from_the_cache(hub: Hub, served: str, state: dict[str, torch.Tensor]) -> None:
    seen = []
    wanted = hub_id(TIMM)
    assert wanted is not None
    found = fetch(wanted, progress=lambda *said: seen.append(said))
    size = found.path.stat().st_size
    assert (f"fetching {TIMM}", size, size) in seen
    assert (found.sha256, found.revision) == (served, FIRST)
    assert sorted(path.name for path in folder(TIMM).iterdir() if path.name[0] != ".") == [
        "config.json", "model.safetensors", "pin.json",
    ]  # fmt: skip
    pin = json.loads((folder(TIMM) / "pin.json").read_text())
    assert (pin["id"], pin["revision"], pin["sha256"]["model.safetensors"]) == (TIMM, FIRST, served)
    hub.asked.clear()
    model = create_model(SMALL)
    report = load_weights(model, TIMM, arch=SMALL)
    assert not hub.asked
    assert report.source == "timm"
    assert not report.missing
    assert report.where == TIMM
    assert f"{TIMM} at revision {FIRST} has the sha256 {served}, trusted at its first use here" in report.notes[-1]
    assert has(model, state)
    assert has(create_model(SMALL, weights=TIMM), state)


def test_what_comes_with_the_weights(served: str) -> None:
    known = known_checkpoint(TIMM)
    assert known is not None
    assert known.preprocess == Preprocess(
        size=(64, 64), channels=3, mean=MEAN, std=STD, crop_pct=0.9, interpolation="bicubic"
    )
    assert known.classes == tuple(map(str, range(1000)))
    assert (known.arch, known.licence, known.sha256) == (SMALL, "apache-2.0", served)
    assert f"/timm/{SMALL}.test_in1k/resolve/{FIRST}/model.safetensors" in str(known.url)


def test_class_names_where_the_hub_has_them(hub: Hub) -> None:
    names = ["cat", "dog", "owl"]
    hub.add(
        "timm/resnet18.pets", FIRST, SMALL, state_in("timm", SMALL, num_classes=3), num_classes=3, label_names=names
    )
    predictor = Classifier.from_weights(SMALL, "timm:resnet18.pets", device="cpu")
    assert predictor.classes == ("cat", "dog", "owl")
    assert predictor.model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_predictor_needs_nothing_said(served: str) -> None:
    predictor = Classifier.from_weights(SMALL, TIMM, device="cpu")
    assert predictor.preprocess.interpolation == "bicubic"
    assert any(note == f"{TIMM} has no class names: they are 0 to 999" for note in predictor.notes)
    assert any(served in note for note in predictor.notes)


def test_training_starts_from_them(served: str, state: dict[str, torch.Tensor]) -> None:
    class Data:
        name, num_classes, channels, native_size = "photos", 7, 1, (32, 32)
        task = "image-classification"

    said: list[str] = []
    data: ImageData = Data()  # ty: ignore[invalid-assignment]
    model, size, known = build_network(Recipe(arch=SMALL, data="photos", weights=TIMM), data, said.append)
    assert size == (64, 64)
    assert known is not None
    assert (known.channels, model.cfg.in_chans, model.cfg.num_classes) == (3, 3, 7)
    assert "2 fresh: head.weight, head.bias" in said[0]
    assert served in said[0]
    assert has(model, state)


@pytest.mark.parametrize("chans", [1, 4])
def test_other_heads_and_channels_are_said(served: str, chans: int) -> None:
    report = load_weights(create_model(SMALL, num_classes=5, in_chans=chans), TIMM, arch=SMALL)
    assert report.missing == ("head.weight", "head.bias")
    assert report.reshaped["stem.conv.weight"] == f"3 input channels adapted to {chans}"


def test_another_file_under_the_same_id_is_refused(hub: Hub, served: str, state: dict[str, torch.Tensor]) -> None:
    create_model(SMALL, weights=TIMM)
    file = folder(TIMM) / "model.safetensors"
    other = {name: tensor + 1 for name, tensor in state.items()}
    safetensors.torch.save_file(other, file)
    os.utime(file, (1, 1))
    refused(
        r"model\.safetensors has the sha256 .*, and timm:.* when first used here: remove the file .* or .*pin\.json"
    )


def test_fetched_again_it_is_the_first_revision(hub: Hub, served: str, state: dict[str, torch.Tensor]) -> None:
    create_model(SMALL, weights=TIMM)
    other = hub.add(f"timm/{SMALL}.test_in1k", SECOND, SMALL, {name: tensor + 1 for name, tensor in state.items()})
    (folder(TIMM) / "model.safetensors").unlink()
    assert has(create_model(SMALL, weights=TIMM), state)
    shutil.rmtree(folder(TIMM))
    found = known_checkpoint(TIMM)
    assert found is not None
    assert (found.sha256, found.revision) == (other, SECOND)


def test_a_pin_in_the_id(hub: Hub, served: str, state: dict[str, torch.Tensor]) -> None:
    wrong = f"{TIMM}#sha256={'0' * 64}"
    refused(rf"has the sha256 {served}, and {TIMM} was asked for with 000.*nothing was fetched", wrong)
    assert not any(request.startswith("GET /timm") for request in hub.asked)
    report = load_weights(create_model(SMALL), f"{TIMM}#sha256={served.upper()}", arch=SMALL)
    assert report.notes[-1].endswith(f"has the sha256 {served}, as asked for")
    refused("was asked for with 000", wrong)


def test_bytes_that_are_not_what_the_hub_states(hub: Hub, served: str) -> None:
    hub.lies = True
    refused(r"gave other bytes \(sha256 .*\) than it states")
    assert not (folder(TIMM) / "model.safetensors").exists()
    hub.lies = False
    create_model(SMALL, weights=TIMM)


def test_no_such_repository(hub: Hub) -> None:
    refused(r"the hub has no timm/resnet18\.nothing .*ARCHITECTURE\.TAG", "timm:resnet18.nothing", "resnet18")


def test_without_network_and_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused(
        rf"{TIMM} is not on this machine and could not be fetched from http://127.0.0.1:9/.*; "
        rf"put its model\.safetensors and config\.json into {folder(TIMM)}$"
    )


def test_files_put_there_by_hand_need_no_network(hub: Hub, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(TIMM).mkdir(parents=True)
    for name, data in hub.repositories[f"timm/{SMALL}.test_in1k"][FIRST].items():
        (folder(TIMM) / name).write_bytes(data)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    create_model(SMALL, weights=TIMM)
    assert json.loads((folder(TIMM) / "pin.json").read_text())["revision"] is None


def test_what_timm_itself_has_fetched(hub: Hub, served: str, tmp_path: Path) -> None:
    snapshot = tmp_path / "cache" / "huggingface" / f"models--timm--{SMALL}.test_in1k" / "snapshots" / FIRST
    snapshot.mkdir(parents=True)
    for name, data in hub.repositories[f"timm/{SMALL}.test_in1k"][FIRST].items():
        (snapshot / name).write_bytes(data)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(FIRST)
    known = known_checkpoint(TIMM)
    assert known is not None
    assert known.revision == FIRST
    assert not hub.asked


def test_a_folder_as_timm_saves_it(hub: Hub, served: str, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    for name, data in hub.repositories[f"timm/{SMALL}.test_in1k"][FIRST].items():
        (place / name).write_bytes(data)
    predictor = Classifier.from_weights(SMALL, place, device="cpu")
    assert predictor.preprocess.size == (64, 64)
    with pytest.raises(WeightsError, match=f"holds the architecture {SMALL}, not resnet18"):
        create_model("resnet18", weights=place)


def test_a_cache_that_cannot_be_written_to(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CORINTH_CACHE", str(tmp_path / "file"))
    refused("cannot be written to .*CORINTH_CACHE names another")


def test_a_damaged_record(served: str) -> None:
    create_model(SMALL, weights=TIMM)
    (folder(TIMM) / "pin.json").write_text("{}")
    refused(r"pin\.json is damaged; remove it to trust what is there now")


def test_padding_forms_are_not_mixed_up(hub: Hub) -> None:
    """Every shape fits, and the network is another."""
    for name, other in (("tf_mixnet_s", "mixnet_s"), ("mixnet_s", "tf_mixnet_s")):
        with torch.device("meta"):
            shapes = create_model(name).state_dict()
        state = {key: torch.zeros(tensor.shape, dtype=tensor.dtype) for key, tensor in shapes.items()}
        hub.add(f"timm/{name}.in1k", FIRST, name, state)
        its = "same_padding=True, norm_eps=0.001" if name[0] == "t" else "same_padding=False, norm_eps=1e-05"
        refused(f"timm:{name}.in1k holds the architecture {name}, not {other}: the one has {its}, ",
                f"timm:{name}.in1k", other)  # fmt: skip
        with pytest.raises(WeightsError, match=f"holds the architecture {name}, not {other}"):
            Classifier.from_weights(other, f"timm:{name}.in1k")
        with torch.device("meta"):
            model = create_model(other)
        with pytest.raises(WeightsError, match=r"was trained with same_padding=.*; create it with same_padding="):
            load_weights(model, f"timm:{name}.in1k")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"arch": "convnext_tiny"}, "holds timm's convnext_tiny, an architecture that Corinth does not have"),
        ({"arch": "resnet18"}, f"holds the architecture resnet18, not {SMALL}"),
        ({"arch": SMALL, "model_args": {"bn_eps": 0.1}}, r"not made with timm's default options \(\{'bn_eps': 0.1\}\)"),
        ({"arch": SMALL, "model_args": {"num_classes": 9, "global_pool": "max"}}, r"\(\{'global_pool': 'max'\}\)"),
        ({"arch": SMALL, "label_offset": 1}, "not made with timm's default options"),
        ({"arch": SMALL, "crop_mode": "border"}, "cropped in the mode 'border'"),
        ({"arch": SMALL, "interpolation": "lanczos"}, "interpolation 'lanczos' is none of"),
        ({"arch": SMALL, "mean": None}, r"config\.json that is not timm's"),
        ({"arch": SMALL, "input_size": [3]}, r"config\.json that is not timm's"),
    ],
)
def test_what_cannot_be_used(hub: Hub, config: dict, match: str) -> None:
    hub.add("timm/net.tag", FIRST, config.pop("arch"), {"conv_stem.weight": torch.zeros(1)}, **config)
    refused(match, "timm:net.tag")


def test_an_id_is_no_run(served: str) -> None:
    with pytest.raises(WeightsError, match="is a foreign checkpoint, no run"):
        read_config(TIMM)


@pytest.fixture
def downloads(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> tuple[Hub, dict[str, torch.Tensor]]:
    """torchvision's MobileNet V3, on this machine's download site, with its table's row changed to that."""
    options = {"norm_eps": 1e-3}
    state = state_in("torchvision", "mobilenetv3_small_100", **options)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    prefix = hashlib.sha256(data).hexdigest()[:8]
    hub.files[f"models/mobilenet_v3_small-{prefix}.pth"] = data
    changed = {"url": f"{hub.url}/models/mobilenet_v3_small-{prefix}.pth", "sha256": prefix}
    rows = tuple(row | changed if f"torchvision:{row['id']}" == TORCHVISION else row for row in torchvision_table())
    monkeypatch.setattr("corinth.weights.hub.torchvision_table", lambda: rows)
    return hub, state


def test_torchvisions_weights_bring_their_options(downloads: tuple[Hub, dict[str, torch.Tensor]]) -> None:
    hub, state = downloads
    model = create_model("mobilenetv3_small_100", weights="torchvision:mobilenet_v3_small")
    assert model.cfg.norm_eps == 1e-3
    assert torch.equal(model.state_dict()["stem.conv.weight"], state["features.0.0.weight"])
    assert len(hub.asked) == 1
    known = known_checkpoint(TORCHVISION)
    assert known is not None
    assert known.preprocess == Preprocess(size=(224, 224), channels=3, mean=MEAN, std=STD, crop_pct=224 / 256)
    assert known.measured == "top-1 67.668 % on ImageNet-1K (torchvision)"
    assert len(hub.asked) == 1
    refused("was trained with norm_eps=0.001, and this", TORCHVISION, "mobilenetv3_small_100", norm_eps=1e-5)
    refused("holds the architecture mobilenetv3_small_100, not tf_mob", TORCHVISION, "tf_mobilenetv3_small_100")


def test_torchvisions_file_must_begin_as_its_name_says(downloads: tuple[Hub, dict[str, torch.Tensor]]) -> None:
    hub, _ = downloads
    (name,) = hub.files
    hub.files[name] += b"x"
    refused("gave other bytes than expected", TORCHVISION, "mobilenetv3_small_100")
    assert not list(folder(TORCHVISION).glob("*.pth"))
    (folder(TORCHVISION) / Path(name).name).write_bytes(hub.files[name])
    refused(r"is damaged: its sha256 is .* and should begin with", TORCHVISION, "mobilenetv3_small_100")


def test_what_torchvision_itself_has_fetched(downloads: tuple[Hub, dict[str, torch.Tensor]]) -> None:
    hub, state = downloads
    ((name, data),) = hub.files.items()
    place = Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints" / Path(name).name
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    model = create_model("mobilenetv3_small_100", weights=TORCHVISION)
    assert torch.equal(model.state_dict()["stem.conv.weight"], state["features.0.0.weight"])
    assert not hub.asked


def test_torchvision_without_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(row | {"url": row["url"].replace("https://", "http://127.0.0.1:9/")} for row in torchvision_table())
    monkeypatch.setattr("corinth.weights.hub.torchvision_table", lambda: rows)
    refused(
        r"alexnet-owt-7be5be79\.pth is not on this machine and could not be fetched from http.*; "
        rf"put the file into {folder('torchvision:alexnet')}$",
        "torchvision:alexnet",
        "alexnet",
    )


@pytest.mark.parametrize("row", torchvision_table(), ids=lambda row: row["id"])
def test_every_row_of_the_table(row: dict) -> None:
    names = [name for name in list_models() if f"torchvision:{row['model']}" in entry(name).card.references]
    assert len(names) == 1
    assert row["num_classes"] == 1000
    assert row["crop"] <= row["resize"]
    assert f"-{row['sha256']}.pth" in row["url"]
    assert sum(other["default"] for other in torchvision_table() if other["model"] == row["model"]) == 1
