"""What all tests share: one torch thread a worker, and the folder of the development data."""

import os
from pathlib import Path

import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    """Workers of pytest-xdist share the cores: one torch thread each, or they fight over them."""
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corinth_data() -> Path:
    """The folder of the development data sets, $CORINTH_DATA."""
    folder = os.environ.get("CORINTH_DATA")
    if not folder:
        pytest.skip("CORINTH_DATA is not set: it names the folder of the development data sets")
    if not Path(folder).is_dir():
        pytest.skip(f"CORINTH_DATA is {folder}, which is no folder")
    return Path(folder)
