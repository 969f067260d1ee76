"""For the tests of kernels in C++: how many threads run them, and which of them ran."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from corinth.layers import native
from corinth.layers import norm_act as norm_act_module


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that ran."""
    called: list[str] = []
    real = native.call

    def call(name: str, *arguments: Any) -> None:
        called.append(name)
        real(name, *arguments)

    monkeypatch.setattr(native, "call", call)
    return called


@pytest.fixture
def on_maps_of_any_size(monkeypatch: pytest.MonkeyPatch, ran: list[str]) -> list[str]:
    """Small maps run by the kernels too; the names of those that ran."""
    monkeypatch.setattr(native, "WORTH_CALLING", 0)
    monkeypatch.setattr(norm_act_module, "WORTH_EVALUATING", 0)
    return ran


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
