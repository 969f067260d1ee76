"""For the tests of kernels in C++: how many threads run them, and which of them ran."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from corinth.layers import native


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


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
