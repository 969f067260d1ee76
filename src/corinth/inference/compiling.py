"""A graph as machine code: torch's ahead-of-time compiler, with weights packed for oneDNN and its fusions."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.fx import GraphModule


def compile_graph(graph: GraphModule, images: Tensor, *, any_batch: bool = False) -> Callable[[Tensor], Tensor]:
    """The compiled form for images of this shape and memory layout; with `any_batch` for any number of them.

    Weights become constants (`freezing`), which lets oneDNN lay them out once and take activations and sums into its
    convolutions. The settings of the compiler hold inside this call only. Raises `RuntimeError` where it fails.
    """
    dynamic = ({0: torch.export.Dim("batch", min=1)},) if any_batch else None
    if any_batch and len(images) == 1:  # of one image, its number is a constant
        images = torch.cat([images, images]).contiguous(memory_format=_layout(images))
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)  # torch's own, about its own code
        from torch._inductor import aoti_compile_and_package, aoti_load_package, config

        target = str(Path(folder) / "model.pt2")
        with config.patch(freezing=True):
            program = torch.export.export(graph, (images,), dynamic_shapes=dynamic, strict=False)
            aoti_compile_and_package(program, package_path=target, inductor_configs={"freezing": True})
        return aoti_load_package(target)


def _layout(images: Tensor) -> torch.memory_format:
    last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
