"""What all tests share: one torch thread a worker, the folder of the development data, a hub on this machine."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from fake_hub import Hub, serving


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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, and empty caches; nothing leads out of this machine."""
    from huggingface_hub import constants

    with serving() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache" / "huggingface"))
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache" / "torch"))
        monkeypatch.setenv("CORINTH_CACHE", str(tmp_path / "cache" / "corinth"))
        yield found
