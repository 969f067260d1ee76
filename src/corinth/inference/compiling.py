"""A graph as machine code: torch's ahead-of-time compiler, with weights packed for oneDNN and its fusions."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.fx import GraphModule

from corinth.inference.graphs import export_for_any_batch


def compile_graph(graph: GraphModule, images: Tensor, *, any_batch: bool = False) -> Callable[[Tensor], Tensor]:
    """The compiled form for images of this shape and memory layout; with `any_batch` for any number of them.

    Weights become constants (`freezing`), which lets oneDNN lay them out once and take activations and sums into its
    convolutions. The settings of the compiler hold inside this call only. Raises `RuntimeError` where it fails.
    """
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)  # torch's own, about its own code
        from torch._inductor import aoti_compile_and_package, aoti_load_package, config

        target = str(Path(folder) / "model.pt2")
        with config.patch(freezing=True):
            if any_batch:
                program = export_for_any_batch(graph, images)
            else:
                program = torch.export.export(graph, (images,), strict=False)
            aoti_compile_and_package(program, package_path=target, inductor_configs={"freezing": True})
        return aoti_load_package(target)
