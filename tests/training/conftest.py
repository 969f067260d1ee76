"""The stand-ins of loop_toys.py can be imported, and trainings leave torch's threads and seeds alone."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def one_thread() -> Generator[None]:
    """Sums in the same order in every test and every process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
