"""The stages of every registered architecture, and of networks made to be difficult."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import corinth
from corinth.inspect import Stage, stages
from corinth.training.finetune import training_mode
from corinth.weights.adapting import head_names

RECURRENT = corinth.list_models(family="recurrent")
every_model = pytest.mark.parametrize("name", corinth.list_models())
every_image_model = pytest.mark.parametrize("name", [name for name in corinth.list_models() if name not in RECURRENT])


def sketch(name: str) -> Any:
    with torch.device("meta"):
        return corinth.create_model(name)


def meta_image(model: Any) -> Tensor:
    side = getattr(model.cfg, "img_size", model.cfg.min_size)
    return torch.empty(2, model.cfg.in_chans, side, side, device="meta")


@every_model
def test_every_parameter_is_in_one_stage_and_the_head_is_the_last(name: str) -> None:
    model = sketch(name)
    found = stages(model)
    assert len({stage.name for stage in found}) == len(found) >= (2 if name in RECURRENT else 3)
    assert all(stage.parameters for stage in found)
    assert all(isinstance(model.get_submodule(stage.name), nn.Module) for stage in found)
    pairs = [pair for stage in found for pair in stage.parameters.items()]
    assert len(pairs) == len(dict(pairs))
    assert {key: id(parameter) for key, parameter in pairs} == {k: id(p) for k, p in model.named_parameters()}
    by_class = found[0 if name == "label_decoder" else -1]  # its classes go in, those of all others come out
    assert head_names(model) & dict(pairs).keys() <= by_class.parameters.keys()


def test_the_stages_of_a_network_for_rows_of_tables() -> None:
    found = stages(corinth.create_model("mlp", input_size=5, fc_dims=(4, 3), num_classes=2))
    assert [stage.name for stage in found] == ["hidden.0", "hidden.3", "head"]


@every_image_model
def test_stages_follow_each_other(name: str) -> None:
    """No layer of a frozen stage sees what a stage after it made: nothing in front needs a gradient.

    And a frozen stage is in evaluation mode whole, the others in training mode.
    """
    model = sketch(name)
    found = stages(model)
    seen: list[nn.Module] = []

    def look(module: nn.Module, _: Any, output: Tensor) -> None:
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            assert not output.requires_grad
            seen.append(module)

    for module in model.modules():
        module.register_forward_hook(look)
    frozen: set[str] = set()
    halves = found[: len(found) // 2], found[len(found) // 2 : -1]
    for half in halves:
        for stage in half:
            frozen |= stage.parameters.keys()
            for parameter in stage.parameters.values():
                parameter.requires_grad_(False)
        training_mode(model)
        for key, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                assert module.training == (f"{key}.weight" not in frozen)
        seen.clear()
        model(meta_image(model))
        assert seen


class Net(nn.Module):
    """Called as `first`, `second`, `head`; `aux` in training only."""

    def __init__(self, **children: nn.Module) -> None:
        super().__init__()
        self.cfg = SimpleNamespace(in_chans=3, min_size=4)
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Any:
        y = self.second(self.first(x))
        z = self.head(y.mean((2, 3)))
        return (z, self.aux(y.mean((2, 3)))) if self.training else z


def block(*chans: int) -> nn.Sequential:
    layers = [(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in itertools.pairwise(chans)]
    return nn.Sequential(*(layer for group in layers for layer in group))


def summary(found: list[Stage]) -> dict[str, list[str]]:
    return {stage.name: list(stage.parameters) for stage in found}


def test_the_order_is_that_of_the_calls_and_norms_go_with_the_layer_before() -> None:
    net = Net(aux=nn.Linear(4, 2), head=nn.Linear(4, 2), second=block(2, 4), first=block(3, 2, 2))
    assert summary(stages(net)) == {
        "first.0": ["first.0.weight", "first.0.bias", "first.1.weight", "first.1.bias"],
        "first.3": ["first.3.weight", "first.3.bias", "first.4.weight", "first.4.bias"],
        "second": ["second.0.weight", "second.0.bias", "second.1.weight", "second.1.bias"],
        "head": ["aux.weight", "aux.bias", "head.weight", "head.bias"],
    }


def test_own_and_shared_parameters_belong_to_the_first_that_uses_them() -> None:
    net = Net(first=block(3, 4), second=block(4, 4), head=nn.Linear(4, 4), aux=nn.Linear(4, 4))
    net.token = nn.Parameter(torch.zeros(3))
    net.aux.weight = net.head.weight = nn.Parameter(torch.zeros(4, 4))
    found = summary(stages(net))
    assert found["first"][0] == "token"
    assert found["head"] == ["head.weight", "head.bias", "aux.bias"]


def test_the_network_is_left_as_it_is() -> None:
    net = Net(first=block(3, 2), second=block(2, 4), head=nn.Linear(4, 2), aux=nn.Linear(4, 2)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = stages(net)
    assert all(module.training and not module._forward_pre_hooks for module in net.modules())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert found[0].count == sum(parameter.numel() for parameter in net.first.parameters())
