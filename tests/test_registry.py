"""The register of architectures: names, suggestions, patterns."""

from dataclasses import dataclass

import pytest
from torch import nn

import corinth
from corinth.errors import CorinthError, UsageError
from corinth.registry import Card, configure, entry, register


@dataclass(frozen=True, kw_only=True)
class Config:
    num_classes: int = 10


class Model(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg


def card(**fields: object) -> Card:
    known = {"params": 1, "macs": 1, "paper": "none", "year": 2026, "input_size": (1, 8, 8)}
    return Card(**{**known, **fields})  # ty: ignore[invalid-argument-type]


def test_a_name_registers_once() -> None:
    corinth.list_models()  # registers all
    with pytest.raises(ValueError, match=r"'lenet5' is registered already, by corinth\.models\.convolutional\.lenet"):
        register("lenet5", Model, Config(), card())
    assert entry("lenet5").cls is not Model


def test_a_card_belongs_to_a_family() -> None:
    with pytest.raises(ValueError, match="family 'cubist' is none of feedforward, convolutional, recurrent"):
        card(family="cubist")


@pytest.mark.parametrize(
    ("wrong", "right"), [("lenet", "lenet5"), ("vgg16bn", "vgg16_bn"), ("alexnet2012", "alexnet_2012")]
)
def test_an_unknown_name_suggests_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UsageError, match=f"no architecture is called '{wrong}'; did you mean .*{right}"):
        corinth.create_model(wrong)


def test_a_name_near_nothing_points_to_the_list() -> None:
    with pytest.raises(CorinthError, match="no architecture is called 'zzz'; `corinth list` shows them all"):
        corinth.card("zzz")


def test_list_models_takes_patterns() -> None:
    assert corinth.list_models("vgg1?_bn") == ["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"]
    assert corinth.list_models("lenet*") == ["lenet5", "lenet5_1998"]
    assert corinth.list_models("no such thing") == []
    assert corinth.list_models() == sorted(corinth.list_models())


def test_list_models_takes_family_and_task() -> None:
    assert "cnn" in corinth.list_models(family="convolutional", task="image-classification")
    assert "cnn" not in corinth.list_models(family="recurrent")
    assert corinth.list_models(task="telepathy") == []
    with pytest.raises(UsageError, match="family 'conv' is none of"):
        corinth.list_models(family="conv")


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="lenet5 has no option 'activaton'; did you mean activation"):
        configure("lenet5", activaton="tanh")
    with pytest.raises(TypeError, match="lenet5 has no option 'zzz'; it has activation, img_size, in_chans"):
        configure("lenet5", zzz=1)


def test_a_bad_value_names_the_architecture() -> None:
    with pytest.raises(UsageError, match="lenet5: pool 'min' is none of max, avg"):
        configure("lenet5", pool="min")
