"""Our own form: what is saved is what is loaded, and a broken folder says how it is broken."""

import json
import resource
import signal
from pathlib import Path

import pytest
import safetensors.torch
import torch

from corinth import create_model, list_models, load_weights
from corinth.data.preprocess import Preprocess
from corinth.errors import CorinthError, UsageError, WeightsError
from corinth.registry import configure
from corinth.weights import load_model, read_config, save_model
from corinth.weights.folder import ModelConfig, card_version

PREPROCESS = Preprocess(size=(32, 32), channels=1, mean=(0.1,), std=(0.3,), fit="squash")
DIGITS = tuple("0123456789")


def save(folder: Path, model, arch: str = "lenet5", **more) -> ModelConfig:
    return save_model(folder, model, arch=arch, preprocess=PREPROCESS, classes=DIGITS, **more)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    model = create_model("lenet5", activation="tanh", pool="avg").train()
    source = {"sha256": "ab", "licence": "MIT"}
    saved = save(tmp_path, model, source=source, extra={"data": {"name": "digits"}})
    loaded, config = load_model(tmp_path)
    assert config == saved
    assert not loaded.training
    assert loaded.cfg == model.cfg
    assert config.preprocess == PREPROCESS
    assert config.classes == DIGITS
    assert config.extra == {"data": {"name": "digits"}}
    assert config.source == source
    assert config.card_version == card_version("lenet5")
    for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_the_json_is_readable_and_complete(tmp_path: Path) -> None:
    save(tmp_path, create_model("lenet5"))
    values = json.loads((tmp_path / "config.json").read_text())
    assert list(values) == [
        "format", "arch", "config", "card_version", "preprocess", "classes", "task", "corinth", "source",
    ]  # fmt: skip
    assert values["format"] == 1
    assert values["config"]["activation"] == "relu"


def test_the_weights_file_alone_is_enough(tmp_path: Path) -> None:
    saved = save(tmp_path / "run", create_model("lenet5"))
    moved = tmp_path / "shared.safetensors"
    (tmp_path / "run" / "model.safetensors").rename(moved)
    loaded, config = load_model(moved)
    assert config == saved
    assert load_weights(loaded, moved, arch="lenet5").exact


def test_loading_moves_nobody_elses_random_numbers(tmp_path: Path) -> None:
    save(tmp_path, create_model("lenet5"))
    before = torch.get_rng_state()
    load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", list_models())
def test_every_config_survives_json(name: str) -> None:
    config = ModelConfig(
        arch=name, config=vars(configure(name)), preprocess=PREPROCESS, classes=DIGITS, task="image-classification"
    )
    back = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())), "config.json")
    assert configure(name, **back.config) == configure(name)


def test_channels_last_and_reset_heads(tmp_path: Path) -> None:
    model = create_model("resnet20_cifar10").to(memory_format=torch.channels_last)
    model.reset_head(3)
    save_model(
        tmp_path,
        model,
        arch="resnet20_cifar10",
        preprocess=Preprocess(size=(32, 32), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3),
        classes=("a", "b", "c"),
    )
    loaded, config = load_model(tmp_path)
    assert config.config["num_classes"] == 3
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(x), model.eval()(x))


def test_a_model_that_its_config_does_not_describe(tmp_path: Path) -> None:
    model = create_model("lenet5")
    model.head = torch.nn.Linear(84, 3)
    with pytest.raises(UsageError, match="not what its cfg says"):
        save(tmp_path, model)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_model(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the write fails in the middle."""
    model = create_model("lenet5")
    save(tmp_path, model)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        model.head.bias.add_(1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(CorinthError, match=r"could not save .*model\.safetensors.*untouched"):
            save(tmp_path, model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def broken(folder: Path, **changes) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": 9}, r"config\.json has format 9; this version of Corinth reads format 1"),
        ({"arch": "lenet6"}, r"no architecture is called 'lenet6'; did you mean lenet5"),
        ({"config": {"colour": 3}}, r"lenet5 has no option 'colour'"),
        ({"config": {"img_size": 31}}, r"img_size 31 does not fit"),
        ({"config": {"num_classes": 11}}, r"model\.safetensors and its config disagree: .*2 fresh: head\.weight"),
        ({"config": {"img_size": 40}}, r"was trained with img_size=32, and this lenet5 has 40"),
        ({"config": None}, r"config\.json does not describe a model"),
        ({"preprocess": {"size": [3, 3]}}, r"config\.json does not describe a model"),
        ({"classes": ["a", "b"]}, r"its config names 2 classes for a network of 10"),
    ],
)
def test_a_config_that_does_not_fit(tmp_path: Path, changes, match: str) -> None:
    save(tmp_path, create_model("lenet5"))
    broken(tmp_path, **changes)
    with pytest.raises(WeightsError, match=match):
        load_model(tmp_path)


def test_a_config_that_is_no_json(tmp_path: Path) -> None:
    save(tmp_path, create_model("lenet5"))
    (tmp_path / "config.json").write_text('{"format": 1, "arch"')
    with pytest.raises(WeightsError, match=r"config\.json cannot be read as JSON"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "null", '"x"', "3"])
def test_a_config_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    save(tmp_path, create_model("lenet5"))
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json does not describe a model: it holds no mapping"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", '{"arch": 3}', '{"arch": "lenet5", "config": [1]}', '{"config": {}}'])
def test_metadata_that_somebody_else_wrote(tmp_path: Path, text: str) -> None:
    state = dict(create_model("lenet5").state_dict())
    safetensors.torch.save_file(state, tmp_path / "a.safetensors", {"corinth": text})
    with pytest.raises(WeightsError, match="has metadata of Corinth's that"):
        create_model("lenet5", weights=tmp_path / "a.safetensors")


def test_weights_that_do_not_say_what_they_are(tmp_path: Path) -> None:
    torch.save(create_model("lenet5").state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"does not say what it is: there is no config\.json beside it"):
        read_config(tmp_path / "a.pth")


def test_our_own_file_says_its_architecture(tmp_path: Path) -> None:
    save(tmp_path, create_model("lenet5"))
    with pytest.raises(WeightsError, match="holds the architecture lenet5, not resnet20_cifar10"):
        create_model("resnet20_cifar10", weights=tmp_path)


def test_options_that_change_what_the_weights_mean(tmp_path: Path) -> None:
    """Another activation or stride changes no shape, only the result."""
    save(tmp_path, create_model("lenet5", activation="tanh"))
    with pytest.raises(WeightsError, match="was trained with activation='tanh', and this lenet5 has 'relu'; create it"):
        create_model("lenet5", weights=tmp_path)
    create_model("lenet5", activation="tanh", num_classes=3, in_chans=3, weights=tmp_path)


def test_temporary_files_of_a_killed_save_do_not_matter(tmp_path: Path) -> None:
    save(tmp_path, create_model("lenet5"))
    (tmp_path / ".model.safetensors.5f0c.tmp").write_bytes(b"half")
    load_model(tmp_path)
