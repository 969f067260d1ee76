"""The ways to run a network that `optimize` chooses from, and the module that it gives."""

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from corinth.errors import UsageError
from corinth.inference.report import OptimizationReport, first_line

Precision = Literal["fp32", "bf16"]
Run = Callable[[Tensor], Tensor]
TOLERANCE: dict[str, float] = {"fp32": 1e-4, "bf16": 5e-2}  # of the largest output


@dataclass(frozen=True)
class Form:
    """A way to run the network: what is called, and the layout and type that it wants its images in."""

    run: Run
    layout: torch.memory_format = torch.contiguous_format
    dtype: torch.dtype = torch.float32
    graph: GraphModule | None = None  # that `run` is, or was compiled from
    precision: Precision = "fp32"
    any_batch: Callable[[Any, Tensor], Run] | None = None  # compiles `graph` anew, where `run` takes one number alone
    own_threads: bool = False  # those of a runtime instead of torch's

    def __call__(self, images: Tensor) -> Tensor:
        images = images.to(self.dtype).contiguous(memory_format=self.layout)
        return self.run(images).to(torch.float32)


class Optimized(nn.Module):
    """A network for inference alone: called with images (B, C, H, W) as the model it was made of.

    Its images have the size of the example. A batch of another size runs too; where the form is compiled, the first
    such batch compiles a second form, for any number of images, which takes seconds. `report` says what was done. It
    has no parameters of its own, cannot be trained, and is made anew on each machine rather than saved.
    """

    def __init__(self, form: Form, report: OptimizationReport) -> None:
        super().__init__()
        self.report = report
        self._form = form
        self._any_batch: Form | None = None if form.any_batch else form
        super().train(False)

    def train(self, mode: bool = True) -> "Optimized":
        """Refuses to: raises `UsageError` unless `mode` is False."""
        if mode:
            raise UsageError("an optimized model is for inference only; train the model that it was made of")
        return self

    def requires_grad_(self, requires_grad: bool = True) -> "Optimized":
        """Refuses to: raises `UsageError` unless `requires_grad` is False."""
        if requires_grad:
            raise UsageError("an optimized model has no gradients; train the model that it was made of")
        return self

    def extra_repr(self) -> str:
        return f"{self.report.gain:.2f} times as fast, {', '.join(s.name for s in self.report.steps if s.kept)}"

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to the model's outputs, without gradients."""
        batch, *size = self.report.shape
        if images.dim() != 4 or list(images.shape[1:]) != size or not len(images):
            want = "x".join(map(str, size))
            raise UsageError(
                f"images of shape {tuple(images.shape)} do not fit this optimized model; it was made for (any, {want})"
            )
        if images.device.type != "cpu" or images.dtype != torch.float32:
            raise UsageError(f"images are {images.dtype} on {images.device}; this optimized model takes float32 on cpu")
        if images.requires_grad and torch.is_grad_enabled():
            raise UsageError("an optimized model has no gradients, but the images require one; detach them")
        with torch.no_grad():
            return self._form(images) if len(images) == batch else self._for_any_batch(images)

    def _for_any_batch(self, images: Tensor) -> Tensor:
        if self._any_batch is None:
            self._any_batch = self._compile_any_batch(images)
        return self._any_batch(images)

    def _compile_any_batch(self, images: Tensor) -> Form:
        """Compiled for any number of images; the graph itself, with a warning, where that fails or is not the same."""
        graph: Any = self._form.graph
        compile: Any = self._form.any_batch
        plain = dataclasses.replace(self._form, run=graph, any_batch=None)
        prepared = images.to(plain.dtype).contiguous(memory_format=plain.layout)
        try:
            form = dataclasses.replace(plain, run=compile(graph, prepared))
        except RuntimeError as error:
            return self._not_compiled(plain, f"the compiler failed ({first_line(error)})")
        difference = largest_difference(form(images), plain(images))
        if difference <= self.report.tolerance:
            return form
        return self._not_compiled(plain, f"its outputs differ by {difference:.1e} of the largest")

    def _not_compiled(self, plain: Form, reason: str) -> Form:
        batch = self.report.shape[0]
        warnings.warn(
            f"batches of other sizes than {batch} run without compilation, slower: {reason}; give optimize an example "
            "of the size that matters",
            stacklevel=2,
        )
        return plain


def largest_difference(answer: Tensor, expected: Tensor) -> float:
    """As a share of the largest value; NaN if anything is."""
    largest = expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return ((answer - expected).abs().max() / largest).item()
