"""`optimize`: try what makes a network faster at inference, and keep what is measured to be faster and right."""

import copy
import dataclasses
import numbers
import platform
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from corinth.errors import UsageError
from corinth.inference.compiling import compile_graph
from corinth.inference.folding import fold_norms
from corinth.inference.forms import TOLERANCE, Form, Optimized, Precision, Run, largest_difference
from corinth.inference.graphs import capture
from corinth.inference.measuring import Measured, measure, measure_within
from corinth.inference.merging import merge_mixes
from corinth.inference.products import use_products
from corinth.inference.report import MEMORY, OptimizationReport, Step, first_line
from corinth.inference.runtime import OpenVino
from corinth.inspect.devices import lacks_bfloat16
from corinth.inspect.memory import freed_memory_is_kept, freed_memory_kept, keep_freed_memory
from corinth.inspect.speed import intra_op_threads
from corinth.layers.compiler import missing_compiler


def optimize(
    model: nn.Module,
    example: Tensor,
    *,
    precision: Precision = "fp32",
    tolerance: float | None = None,
    compile: bool = True,
    runtimes: bool = True,
    threads: int | None = None,
    seconds: float = 2.0,
    keep_memory: bool = True,
) -> Optimized:
    """The fastest form of `model` on this machine's processor, chosen by measuring on `example` (B, C, H, W).

    Steps, in this order: `channels_last`; batch norms folded into convolutions; mixed depthwise kernels merged;
    compiled, for the example's batch size, if `compile`, then also with 1x1 convolutions as matrix products; in
    bfloat16, if `precision` is "bf16"; in OpenVINO, if `runtimes` and it is installed (extra `openvino`), in the same
    precisions. Each is timed against the form so far for about `seconds`, and kept if the gain is more than the noise
    of the rounds and the outputs stay within `tolerance` of the original's (the largest difference as a share of the
    largest output; by default 1e-4, and 5e-2 in bf16). The model itself is never changed. At last, with `keep_memory`
    and where it is faster, this process is told to keep the memory that its tensors free instead of giving it back
    (see `corinth.inspect.memory`); that holds for the whole process from then on. `threads` sets torch's threads for
    the measurements and the compiled code, and is put back; call the result under the same number. OpenVINO has as
    many threads of its own. Raises `UsageError` for a model or an example that it cannot work with.
    """
    images = _checked(model, example, precision, tolerance, seconds)
    if threads is not None and not (_is_number(threads) and isinstance(threads, numbers.Integral) and threads > 0):
        raise UsageError(f"threads {threads!r} is not a whole number above 0")
    with intra_op_threads(None if threads is None else int(threads)) as used, torch.no_grad():
        with freed_memory_kept() if keep_memory else nullcontext():
            search = _Search(model, images, tolerance, seconds)
            search.channels_last()
            if search.captures():
                search.fold()
                search.merge()
                if compile:
                    search.compile()
                if precision == "bf16":
                    search.bf16(compile=compile)
                if runtimes:
                    search.openvino(precision, used)
            report = search.report(used)
        if keep_memory and (step := search.memory()) is not None:
            report = dataclasses.replace(report, steps=(*report.steps, step))
        return Optimized(search.form, report)


class _Search:
    """The best form so far, and what was tried."""

    def __init__(self, model: nn.Module, images: Tensor, tolerance: float | None, seconds: float) -> None:
        self.images, self.tolerance, self.seconds = images, tolerance, seconds
        self.twin = copy.deepcopy(model).eval().requires_grad_(False)
        self.original = self.form = Form(self.twin)
        self.expected = _first_answer(self.original, images)
        self.graph: GraphModule | None = None
        self.folded: GraphModule | None = None  # before anything else is done to it that suits torch's kernels
        self.steps: list[Step] = []

    def channels_last(self) -> None:
        twin: Any = copy.deepcopy(self.twin)
        self._try("channels_last", Form(twin.to(memory_format=torch.channels_last), torch.channels_last))

    def captures(self) -> bool:
        """Whether the model can be had as a graph, without which there are no further steps."""
        try:
            self.graph = capture(self.twin, self.images)
        except (RuntimeError, ValueError, TypeError) as error:
            self._skip("graph", f"torch.export cannot trace this model: {first_line(error)}")
        return self.graph is not None

    def fold(self) -> None:
        graph: Any = self.graph
        folded, norms = fold_norms(graph)
        graph.to(memory_format=self.form.layout)
        self.folded = graph
        name = f"{folded} of {norms} batch norms folded" if norms else "run as a graph"
        self._try(name, Form(graph, self.form.layout, graph=graph))

    def merge(self) -> None:
        graph = copy.deepcopy(self.graph)
        assert graph is not None
        images = self.images.contiguous(memory_format=self.form.layout)
        merged, mixes = merge_mixes(graph, images, seconds=self.seconds)
        if not mixes:
            return
        name = "mixed depthwise kernels merged"
        if not merged:
            self._skip(name, f"in none of {mixes} layers one convolution was faster")
        elif self._try(f"{name} in {merged} of {mixes} layers", Form(graph, self.form.layout, graph=graph)):
            self.graph = graph

    def compile(self) -> None:
        plain = Form(self._captured(), self.form.layout, graph=self.graph)
        form = self._compiled("compiled", plain)
        if form is not None:
            self._try("compiled", form)
            self.products("1x1 convolutions as matrix products", plain)

    def products(self, name: str, plain: Form) -> None:
        """The same, compiled from another graph; batches of other sizes use the one they had."""
        graph: Any = copy.deepcopy(plain.graph)
        graph.to(memory_format=torch.channels_last)
        if not use_products(graph, len(self.images)):
            return
        form = self._compiled(name, dataclasses.replace(plain, graph=graph, layout=torch.channels_last))
        if form is not None:
            self._try(name, dataclasses.replace(form, graph=plain.graph))

    def bf16(self, *, compile: bool) -> None:
        if (reason := lacks_bfloat16(torch.device("cpu"))) is not None:
            return self._skip("bf16", reason)
        graph: Any = copy.deepcopy(self._captured())
        graph.to(torch.bfloat16, memory_format=torch.channels_last)
        plain = Form(graph, torch.channels_last, torch.bfloat16, graph, "bf16")
        form: Form | None = plain
        compiles = compile and missing_compiler() is None
        if compiles:
            form = self._compiled("bf16", plain)
        if form is not None:
            self._try("bf16", form)
        if compiles:
            self.products("bf16, 1x1 convolutions as matrix products", plain)
        return None

    def openvino(self, precision: Precision, threads: int) -> None:
        """In fp32, which small networks may run faster, and in bf16 where that is asked for."""
        assert self.folded is not None
        try:
            network = OpenVino(self.folded, self.images, threads)
        except RuntimeError as error:
            return self._skip("run in OpenVINO", first_line(error))
        name = f"run in OpenVINO {network.version}"
        self._try_runtime(name, network, "fp32")
        if precision == "bf16":
            self._try_runtime(f"{name}, bf16", network, "bf16")
        return None

    def _try_runtime(self, name: str, network: OpenVino, precision: Precision) -> None:
        def for_any_batch(graph: GraphModule, images: Tensor) -> Run:
            return network.compile(precision)

        try:
            run = network.compile(precision, batch=len(self.images))
            form = Form(run, graph=self.folded, precision=precision, any_batch=for_any_batch, own_threads=True)
            form(self.images)
        except RuntimeError as error:
            return self._skip(name, first_line(error))
        self._try(name, form)
        return None

    def report(self, threads: int) -> OptimizationReport:
        times = self._timed(self.original, self.form)
        answer = self.form(self.images)
        same = self.form is self.original
        return OptimizationReport(
            steps=tuple(self.steps),
            before_ms=times.before_ms,
            after_ms=times.before_ms if same else times.after_ms,
            gain=1.0 if same else times.gain,
            difference=largest_difference(answer, self.expected),
            tolerance=self._limit(self.form),
            agreement=(answer.argmax(1) == self.expected.argmax(1)).float().mean().item(),
            precision=self.form.precision,
            shape=tuple(self.images.shape),
            machine=_machine(),
            threads=threads,
        )

    def memory(self) -> Step | None:
        """Keep freed memory from here on, where that is faster; None where this C library cannot."""
        if freed_memory_is_kept():
            return Step(name=MEMORY, kept=True, reason="it was before")
        with freed_memory_kept() as can:
            if not can:
                return None
        times = measure_within(lambda: self.form(self.images), freed_memory_kept, seconds=self.seconds)
        kept = times.least > 1 and keep_freed_memory(True)
        return _timed_step(MEMORY, kept, times, difference=0.0)

    def _limit(self, form: Form) -> float:
        return TOLERANCE[form.precision] if self.tolerance is None else self.tolerance

    def _captured(self) -> GraphModule:
        assert self.graph is not None
        return self.graph

    def _compiled(self, name: str, form: Form) -> Form | None:
        """The form with its graph compiled; None, and a step that says why, where that is not possible."""
        if (reason := missing_compiler()) is not None:
            self._skip(name, f"not available: {reason}")
            return None
        assert form.graph is not None
        images = self.images.to(form.dtype).contiguous(memory_format=form.layout)
        try:
            run = compile_graph(form.graph, images)
        except RuntimeError as error:
            self._skip(name, f"the compiler failed: {first_line(error)}")
            return None
        return dataclasses.replace(form, run=run, any_batch=_compile_for_any_batch)

    def _timed(self, before: Form, after: Form) -> Measured:
        apart = before.own_threads != after.own_threads
        return measure(lambda: before(self.images), lambda: after(self.images), seconds=self.seconds, apart=apart)

    def _skip(self, name: str, reason: str) -> None:
        self.steps.append(Step(name=name, kept=False, reason=reason))

    def _try(self, name: str, candidate: Form) -> bool:
        """Whether the candidate is right and faster than the form so far; if so it takes its place."""
        difference = largest_difference(candidate(self.images), self.expected)
        limit = self._limit(candidate)
        if not difference <= limit:  # nor if it is not a number
            self.steps.append(
                Step(
                    name=name,
                    kept=False,
                    reason=f"outputs differ by {difference:.1e} of the largest, more than {limit:.0e}",
                    difference=difference,
                )
            )
            return False
        times = self._timed(self.form, candidate)
        kept = times.least > 1
        self.steps.append(_timed_step(name, kept, times, difference))
        if kept:
            self.form = candidate
        return kept


def _compile_for_any_batch(graph: GraphModule, images: Tensor) -> Run:
    return compile_graph(graph, images, any_batch=True)


def _timed_step(name: str, kept: bool, times: Measured, difference: float) -> Step:
    reason = "faster" if times.least > 1 else "not faster" if times.gain <= 1 else "not faster beyond the noise"
    return Step(
        name=name,
        kept=kept,
        reason=reason,
        before_ms=times.before_ms,
        after_ms=times.after_ms,
        gain=times.gain,
        difference=difference,
    )


def _checked(model: nn.Module, example: Any, precision: str, tolerance: float | None, seconds: float) -> Tensor:
    """The example as a batch without gradients."""
    if precision not in get_args(Precision):
        raise UsageError(f"precision {precision!r} is none of {', '.join(get_args(Precision))}")
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model is {type(model).__name__}; it must be a network, as corinth.create_model makes it")
    if tolerance is not None and not (_is_number(tolerance) and 0 < tolerance < 1):
        raise UsageError(f"tolerance {tolerance!r} is not between 0 and 1: it is a share of the largest output")
    if not (_is_number(seconds) and seconds > 0):
        raise UsageError(f"seconds {seconds!r} is not more than 0")
    if not isinstance(example, Tensor):
        raise UsageError(f"the example is {type(example).__name__}; it must be a tensor of images (B, C, H, W)")
    if example.dim() != 4 or not example.numel():
        raise UsageError(
            f"the example has the shape {tuple(example.shape)}; it must be images (B, C, H, W), at least 1"
        )
    places = {str(value.device) for value in (*model.parameters(), *model.buffers(), example)}
    if places != {"cpu"}:
        raise UsageError(
            f"model and example are on {' and '.join(sorted(places))}; optimize works on the cpu, so move both there"
        )
    kinds = {value.dtype for value in model.parameters() if value.is_floating_point()}
    for name, dtypes in (("model", kinds or {torch.float32}), ("example", {example.dtype})):
        if dtypes != {torch.float32}:
            have = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
            raise UsageError(f"the {name} is {have}; it must be float32, and precision='bf16' asks for a bfloat16 form")
    return example.detach()


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _first_answer(form: Form, images: Tensor) -> Tensor:
    try:
        answer = form.run(images)
    except RuntimeError as error:
        raise UsageError(f"the model cannot run images of {tuple(images.shape)}: {first_line(error)}") from error
    if not isinstance(answer, Tensor):
        raise UsageError(f"the model answers with {type(answer).__name__}; optimize works with one tensor (B, C, ...)")
    if answer.dim() < 2 or not answer.numel():
        raise UsageError(f"the model answers with the shape {tuple(answer.shape)}; optimize works with (B, C, ...)")
    if not answer.isfinite().all():
        raise UsageError("the model's own outputs for the example are not finite, so no other form can be checked")
    return answer


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    kind = torch.backends.cpu.get_cpu_capability()  # of one name there are processors with and without AVX512
    return f"{names[0] if names else platform.machine()} ({kind}), torch {torch.__version__}"
