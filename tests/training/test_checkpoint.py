"""The resume state as a file, and what is in it."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from corinth.errors import TrainingError, UsageError
from corinth.training import checkpoint
from corinth.training.ema import Ema
from corinth.training.optimizers import find_optimizer, make_optimizer, optimizer_names
from corinth.training.recipe import Recipe


def recipe(**fields: object) -> Recipe:
    return Recipe(**({"arch": "a", "data": "d", "lr": 0.01} | fields))


def test_tensors_and_values_come_back(tmp_path: Path) -> None:
    tied = torch.randn(3)
    tensors = {
        "a": tied,
        "b": tied,
        "strided": torch.randn(4, 6)[:, ::2],
        "empty": torch.empty(0),
        "n": torch.tensor(3),
    }
    values = {"step": 7, "tiny": 0.1 + 0.2, "none": None, "nested": [{"x": [1, 2]}]}
    checkpoint.write_state(tmp_path / "last/state.safetensors", tensors, values)
    read, plain = checkpoint.read_state(tmp_path / "last/state.safetensors")
    assert plain == values
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_another_format_is_named(tmp_path: Path) -> None:
    save_file({}, tmp_path / "s.safetensors", {"format": "99", "values": "{}"})
    with pytest.raises(TrainingError, match="has format 99; this version of Corinth reads 1"):
        checkpoint.read_state(tmp_path / "s.safetensors")


def test_every_random_generator_goes_on() -> None:
    task = torch.Generator().manual_seed(3)
    random.gauss(0, 1)
    np.random.standard_normal()  # both keep a second gaussian in hand
    tensors, values = checkpoint.random_state(torch.device("cpu"), task)
    values = json.loads(json.dumps(values))

    def draw() -> list[float]:
        numbers = [random.gauss(0, 1), random.random(), np.random.standard_normal(), np.random.rand()]
        return [*map(float, numbers), float(torch.rand(())), float(torch.rand((), generator=task))]

    expected = draw()
    checkpoint.seed_everything(1)
    checkpoint.load_random_state(torch.device("cpu"), task, tensors, values)
    assert draw() == expected


def test_a_run_can_go_on_on_another_kind_of_device() -> None:
    """A CUDA generator's state is a seed and an offset, 16 bytes, which no CPU generator takes."""
    task = torch.Generator().manual_seed(3)
    tensors, values = checkpoint.random_state(torch.device("cpu"), task)
    expected = torch.rand((), generator=task)
    tensors["task"] = torch.zeros(16, dtype=torch.uint8)
    checkpoint.load_random_state(torch.device("cpu"), task.manual_seed(3), tensors, values)
    assert torch.rand((), generator=task) == expected


@pytest.mark.parametrize("name", sorted(optimizer_names()))
def test_every_optimizer_goes_on_bit_for_bit(name: str) -> None:
    def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            net(torch.full((2, 3, 5, 5), 0.1 * (step + 1))).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))
        net.to(memory_format=torch.channels_last)
        return net, make_optimizer(recipe(optimizer=name), [net])

    net, optimizer = build()
    train(net, optimizer, range(3))
    tensors, values = checkpoint.optimizer_state(optimizer)
    tensors = {key: tensor.clone().contiguous() for key, tensor in tensors.items()}
    weights = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    train(net, optimizer, range(3, 6))
    again, second = build()
    again.load_state_dict(weights)
    checkpoint.load_optimizer_state(second, tensors, json.loads(json.dumps(values)))
    train(again, second, range(3, 6))
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_norms_and_biases_do_not_decay_unless_asked() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    groups = make_optimizer(recipe(weight_decay=0.1), [net]).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.1), (3, 0.0)]
    groups = make_optimizer(recipe(weight_decay=0.1, decay_norm_and_bias=True), [net]).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(4, 0.1)]


def test_shared_networks_are_optimised_once() -> None:
    net = nn.Linear(2, 2)
    groups = make_optimizer(recipe(), [net, net]).param_groups
    assert sum(len(group["params"]) for group in groups) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [("adamm", "did you mean adam"), ("lbfgs", "is not valid"), ("Optimizer", "is not valid"), ("xyz", "it must be ")],
)
def test_an_unknown_optimizer(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"optimizer '{name}' is not valid") as error:
        find_optimizer(name)
    assert said in str(error.value)


def test_the_average_swaps_in_and_out() -> None:
    net = nn.Linear(2, 2)
    ema = Ema(net, 0.9)
    first = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.add_(1.0)
    ema.update()  # the first decay is 2/11
    raw = net.weight.detach().clone()
    with ema.in_place():
        torch.testing.assert_close(net.weight.detach(), first * 2 / 11 + raw * 9 / 11)
    assert torch.equal(net.weight, raw)
    twin = Ema(net, 0.9)
    twin.load_state(ema.state(), ema.updates)
    ema.update()
    twin.update()
    assert all(torch.equal(a, b) for a, b in zip(ema.average, twin.average, strict=True))
