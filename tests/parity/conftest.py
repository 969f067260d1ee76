"""The independent implementations, kept in a folder of their own and imported by these tests alone.

torchvision cannot be imported beside a CPU-only torch: its compiled operators are missing. Nothing here calls them,
so two of them are declared, which is enough for the import. That would mislead any other code that looks for
torchvision; these tests therefore run in a process of their own, which `-m parity` selects (`make parity`).
"""

import importlib.util
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

PEERS = Path(__file__).parents[2] / ".peers"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("markexpr") == "parity":
        reason = (
            None if PEERS.is_dir() else f"{PEERS} is absent: `make parity` installs the independent implementations"
        )
    else:
        reason = "needs a process of its own: `make parity`, or pytest -m parity"
    for item in items:
        if reason and item.get_closest_marker("parity"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def openvino() -> None:
    """Puts OpenVINO where it can be imported."""
    sys.path.append(str(PEERS))
    if importlib.util.find_spec("openvino") is None:
        pytest.skip(f"OpenVINO is not in {PEERS}: `make parity` installs it")


@pytest.fixture(scope="session")
def peers() -> SimpleNamespace:
    """The modules `timm`, `torchvision` and `pytorchcv.model_provider`."""
    sys.path.append(str(PEERS))
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        return SimpleNamespace(
            library=library,  # its declarations last as long as it does
            torchvision=importlib.import_module("torchvision.models"),
            timm=importlib.import_module("timm"),
            pytorchcv=importlib.import_module("pytorchcv.model_provider"),
        )


@pytest.fixture(scope="session")
def runtimes() -> SimpleNamespace:
    """The module `onnxruntime`; what `torch.onnx` exports with can then be imported too."""
    if str(PEERS) not in sys.path:
        sys.path.append(str(PEERS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        return SimpleNamespace(onnxruntime=importlib.import_module("onnxruntime"))
