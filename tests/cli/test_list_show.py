"""`list` and `show`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from corinth import list_models

Cli = Callable[..., Any]


def test_list_has_every_architecture(cli: Cli):
    lines = cli("list").out.splitlines()
    assert lines[0].split() == ["name", "params", "macs", "input", "year", "paper"]
    assert [line.split()[0] for line in lines[1:]] == list_models()


def test_list_by_pattern_and_as_json(cli: Cli):
    found = json.loads(cli("list", "lenet*", "--json").out)
    assert [row["name"] for row in found] == ["lenet5", "lenet5_1998"]
    assert found[0]["params"] == 61_706
    assert json.loads(cli("list", "--family", "convolutional", "--json").out)


def test_list_without_a_match_suggests(cli: Cli):
    found = cli("list", "resnt18")
    assert found.code == 2
    assert "resnet18" in found.sentence
    assert cli("list", "--task", "speech").code == 2


def test_show(cli: Cli):
    found = cli("show", "lenet5")
    assert found.code == 0
    rows = [line.split() for line in found.out.splitlines()]
    (c5,) = (row for row in rows if row[:1] == ["c5"])
    assert c5[1:] == ["Conv2d", "5", "1", "0", "120x1x1", "48,120", "48,000", "32"]
    assert "61,706" in found.out
    assert "recipe" in found.out


def test_show_at_another_size(cli: Cli):
    found = json.loads(
        cli("show", "resnet18", "--img-size", "64", "--in-chans", "1", "--num-classes", "7", "--json").out
    )
    assert found["input_size"] == [1, 64, 64]
    assert found["layers"][0]["out_shape"] == [64, 32, 32]
    assert found["layers"][-1]["out_shape"] == [7]
    assert found["params"] == sum(row["params"] for row in found["layers"])
    assert found["macs"] == sum(row["macs"] for row in found["layers"])
    assert found["card"]["year"] == 2015


def test_show_names_the_stages_that_can_be_frozen(cli: Cli):
    assert "stem, stages.0, stages.1, stages.2, head" in cli("show", "resnet20_cifar10").out
    found = json.loads(cli("show", "resnet20_cifar10", "--json").out)
    assert list(found["stages"]) == ["stem", "stages.0", "stages.1", "stages.2", "head"]
    assert sum(found["stages"].values()) == found["params"]


def test_show_with_an_option(cli: Cli):
    found = json.loads(cli("show", "lenet5", "--set", "activation=tanh", "--json").out)
    assert found["config"]["activation"] == "tanh"


def test_show_takes_size_and_channels_from_set_too(cli: Cli):
    assert json.loads(cli("show", "lenet5", "--set", "img_size=40", "--json").out)["input_size"] == [1, 40, 40]
    assert json.loads(cli("show", "resnet18", "--set", "in_chans=1", "--json").out)["input_size"] == [1, 224, 224]
    found = cli("show", "resnet18", "--in-chans", "3", "--set", "in_chans=1")
    assert found.code == 2
    assert "contradicts --in-chans 3" in found.sentence


@pytest.mark.parametrize("size", ["-5", "0"])
def test_show_refuses_sizes_that_are_none(cli: Cli, size: str):
    for name in ("resnet18", "lenet5"):
        found = cli("show", name, "--img-size", size)
        assert found.code == 2
        assert size in found.sentence


@pytest.mark.parametrize("setting", ["batch_norm=no", "depth=3", "fc_dim=4.5"])
def test_show_refuses_values_of_the_wrong_kind(cli: Cli, setting: str):
    found = cli("show", "vgg11", "--set", setting)
    assert found.code == 2
    name, _, value = setting.partition("=")
    assert f"{name} {value!r} " in found.sentence or f"{name} {value} " in found.sentence


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize("line", ["show resnet20_cifar10", "list"])
def test_no_number_is_cut_on_a_narrow_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: int, line: str):
    plain = cli(*line.split()).out
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = cli(*line.split()).out
    assert "…" not in shown
    numbers = [word for word in plain.split() if word[0].isdigit()]
    assert len(numbers) > 60
    assert {*numbers} <= {*shown.split()}


def test_show_of_what_is_not(cli: Cli):
    assert "lenet5" in cli("show", "lenet").sentence
    assert "no option 'depht'" in cli("show", "resnet18", "--set", "depht=3").sentence
    found = cli("show", "vgg11", "--img-size", "8")
    assert found.code == 2
    assert "32" in found.sentence  # the smallest that fits


def test_show_of_a_recurrent_network(cli: Cli):
    shown = json.loads(cli("show", "lstm_peephole", "--json", "--set", "num_layers=2").out)
    assert shown["input_size"] == [128, 64]
    assert sum(layer["params"] for layer in shown["layers"]) == shown["params"]
    assert sum(layer["macs"] for layer in shown["layers"]) == shown["macs"]
    assert set(shown["stages"]) == {"rnn", "head"}
    result = cli("show", "lstm", "--in-chans", "3")
    assert result.code == 2
    assert "--in-chans is for images, and lstm takes sequences" in result.err


def test_a_long_recipe_is_shortened(cli: Cli) -> None:
    line = next(line for line in cli("show", "mixnet_s").out.splitlines() if line.startswith("published recipe"))
    assert "step_at=(0.00685" in line
    assert "; 145 in all)" in line
    assert len(line) < 600
