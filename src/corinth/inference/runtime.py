"""A graph run by OpenVINO, where that is installed: its calls of small layers cost less than torch's."""

import contextlib
import importlib
import logging
import threading
import warnings
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from corinth.inference.graphs import export_for_any_batch
from corinth.inference.report import first_line

PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class OpenVino:
    """A network in OpenVINO, to be compiled for as many of its threads, beside torch's.

    Made of a graph of one tensor (B, C, H, W) to one, for images of this size and any number. Raises `RuntimeError`
    with the reason where OpenVINO is absent or cannot run it.
    """

    def __init__(self, graph: GraphModule, images: Tensor, threads: int) -> None:
        self._library = library()
        self.version: str = self._library.__version__.partition("-")[0]
        self._core = self._library.Core()
        self._threads, self._size = threads, tuple(images.shape[1:])
        with torch.no_grad(), warnings.catch_warnings(), _unlogged():
            warnings.simplefilter("ignore")  # torch's and its own, about their own code
            try:
                self._network = _converted(export_for_any_batch(graph, images))
            except Exception as error:  # its errors have no class in common
                raise RuntimeError(f"it cannot take in this network: {_cause(error)}") from error

    def compile(self, precision: str, *, batch: int = -1) -> "Request":
        """For this number of images, or any (-1). Raises `RuntimeError` where that fails."""
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise RuntimeError("it has no bfloat16 on this processor")
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],  # its own choice is bfloat16 where the processor has it
            "INFERENCE_NUM_THREADS": self._threads,
            "ENABLE_CPU_PINNING": False,  # the cores are torch's too
        }
        network = self._network.clone()
        try:
            network.reshape([batch, *self._size])
            return Request(self._core.compile_model(network, "CPU", settings))
        except RuntimeError as error:
            raise RuntimeError(f"it cannot run this network: {_cause(error)}") from error


class Request:
    """A compiled network: one call at a time, further ones wait. Answers belong to the caller, no call changes them."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()

    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), float32 and contiguous, read where they lie."""
        with self._lock:
            found = self._request.infer({0: images.detach().numpy()}, share_inputs=True, share_outputs=True)
            return torch.from_numpy(found[0]).clone()

    def __deepcopy__(self, memo: object) -> "Request":
        return self  # it keeps nothing between calls


@contextlib.contextmanager
def _unlogged() -> Generator[None]:
    """Without the tracebacks that the frontend logs as warnings, on the root logger, of operators it then converts."""
    logger = logging.getLogger()
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _converted(program: torch.export.ExportedProgram) -> Any:
    """The program as OpenVINO's model, by its frontend itself: `openvino.convert_model` sends usage data to Intel where
    `openvino_telemetry` is installed, as it is with OpenVINO from PyPI."""
    frontends = importlib.import_module("openvino.frontend")
    decoders = importlib.import_module("openvino.frontend.pytorch.fx_decoder")
    frontend = frontends.FrontEndManager().load_by_framework("pytorch")
    decoder = decoders.TorchFXPythonDecoder.from_exported_program(program)  # is read in `convert` and must live on
    return frontend.convert(frontend.load(decoder))


def library() -> Any:
    """OpenVINO; a `RuntimeError` with the reason where it cannot be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own, about its own code
            return importlib.import_module("openvino")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "openvino":
            raise RuntimeError("not installed: pip install 'corinth[openvino]'") from error
        raise RuntimeError(f"it cannot be imported: {first_line(error)}") from error


def _cause(error: Exception) -> str:
    """The last line of the message: OpenVINO's begin with where in its sources the error was found."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].removeprefix("-- ")
