"""Kernels in C++ for a CPU: maps, where torch passes over memory more often than it must, and recurrent cells.

The files beside this one are compiled as one on first use, which takes seconds once on a machine: the result stays in
the cache. Without a C++ compiler, and with CORINTH_NATIVE=0 in the environment, everything runs on torch's operators:
slower, and the same up to rounding.
"""

import ctypes
import hashlib
import os
import platform
import re
import shutil
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from corinth.errors import CorinthError
from corinth.files import cache_folder, replacing
from corinth.layers.compiler import compiles, missing_compiler

WORTH_CALLING = 2**12  # values of a map below which a call costs more than the passes over memory that it saves
SOURCES = ("common", "maps", "products", "cells")  # in this order
# torch's own flags turn trapping on again by a side effect, and GCC then leaves loops with branches out of AVX2
FLAGS = (
    *("-std=c++20", "-ftree-loop-vectorize", "-ffp-contract=fast"),
    *("-fno-math-errno", "-fno-signed-zeros", "-fno-trapping-math"),
)
WIDE = "-mprefer-vector-width=512"  # compilers take half of the register by themselves
OF_TORCH = (
    "ATEN_CPU_CAPABILITY",
    "TORCHINDUCTOR_CPP_MARCH",
    "TORCHINDUCTOR_DEBUG_COMPILE",
)  # torch's flags hang on these
PLAIN = Tensor, nn.Parameter
_map, _flag, _count, _threads = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_int
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "norm_act_forward": (_flag, _flag, *[_map] * 3, ctypes.c_double, _map, _map, _count, _count, _threads),
    "norm_act_evaluate": (_flag, _flag, *[_map] * 5, ctypes.c_double, _map, _count, _count, _threads),
    "norm_act_backward": (_flag, _flag, *[_map] * 6, _count, _count, _threads),
    "image_sums": (_flag, *[_map] * 3, _count, _count, _count, _threads),
    "image_scale": (_flag, *[_map] * 4, _count, _count, _count, _threads),
    "excite": (*[_flag] * 3, *[_map] * 5, _count, _map, _count, _count, _count, _threads),
    "depthwise_forward": (_flag, _flag, _map, _map, _count, *[_map] * 6, ctypes.c_double, _map, _threads),
    "depthwise_input_gradient": (_flag, _map, _map, _count, *[_map] * 3, _threads),
    "depthwise_weight_gradient": (_flag, *[_map] * 3, _count, *[_map] * 2, _threads),
    "sum_of_products": (*[_map] * 3, *[_count] * 3, _threads),
    "lstm_forward": (_flag, _flag, *[_map] * 8, *[_count] * 3, _threads),
    "lstm_backward": (_flag, _flag, *[_map] * 15, *[_count] * 3, _threads),
}
_found: list[tuple[ctypes.CDLL | None, str | None]] = []
_lock = threading.Lock()


def suits(x: Tensor) -> bool:
    """Whether the kernels can take the map x (B, C, H, W), and it is worth it."""
    return (
        is_plain()
        and type(x) is Tensor
        and x.is_cpu
        and x.ndim == 4
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.numel() >= max(1, WORTH_CALLING)
        and x.is_contiguous(memory_format=torch.channels_last)
        and is_there()
    )


def fits(count: int, *weights: Any) -> bool:
    """Whether the weights are `count` values each, as kernels read them."""
    return are_single(*weights) and all(weight.numel() == count for weight in weights)


def are_single(*values: Any) -> bool:
    """Whether all are tensors in single precision and without gaps."""
    for value in values:
        if type(value) not in PLAIN or value.dtype != torch.float32 or not value.is_cpu or not value.is_contiguous():
            return False
    return True


def is_plain() -> bool:
    """Neither a trace, nor a transform of torch.func, nor a dispatch mode or forward differentiation: those follow
    torch's own operators only."""
    return (
        not torch.compiler.is_compiling()  # before anything is asked that a graph would be tied to
        and not torch._C._is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._len_torch_dispatch_stack()
        and forward_ad._current_level < 0
    )


def is_there() -> bool:
    """Whether the kernels are compiled, now if need be, and wanted."""
    return compiles() and _looked_for()[0] is not None


def is_for_kernels(grad: Tensor, x: Tensor) -> bool:
    """Whether kernels may take the gradient that came back for the map x: no derivative of theirs is wanted, and it is
    one of its type, not a batch of them."""
    return (
        is_plain()
        and not torch.is_grad_enabled()
        and type(grad) is type(x) is Tensor
        and not torch._C._functorch.is_legacy_batchedtensor(grad)
        and grad.dtype == x.dtype
        and grad.is_cpu
        and x.is_cpu
    )


def is_low(x: Tensor) -> bool:
    """Whether the map is in bfloat16, else in single precision: the first argument of the kernels."""
    return x.dtype == torch.bfloat16


def gradients(y: Tensor, inputs: Sequence[Tensor], grad: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """Those of y by autograd, of the inputs that are `wanted`; with a graph of their own if gradients are on."""
    chosen = [value for value, needs in zip(inputs, wanted) if needs]
    found = iter(torch.autograd.grad(y, chosen, grad, create_graph=torch.is_grad_enabled()))
    return tuple(next(found) if needs else None for needs in wanted)


def dense(x: Tensor) -> Tensor:
    """With the channels of a pixel side by side, copied if they are not."""
    return x.contiguous(memory_format=torch.channels_last)


def call(name: str, *arguments: Any) -> None:
    """Run a kernel: tensors go as the addresses of their values, None as no address."""
    given = [value.data_ptr() if type(value) in PLAIN else value for value in arguments]
    getattr(_found[0][0], name)(*given, torch.get_num_threads())


def addresses(tensors: Sequence[Tensor]) -> Any:
    """Those of the tensors' values, as one argument; the tensors must outlive the call."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def whole(*numbers: int) -> Any:
    """Whole numbers as one argument."""
    return (ctypes.c_int64 * len(numbers))(*numbers)


def described() -> str:
    """Whether there are kernels here, and why not, for people."""
    library, reason = _looked_for()
    return "compiled" if library is not None else f"absent, so that networks run slower: {reason}"


def _looked_for() -> tuple[ctypes.CDLL | None, str | None]:
    """The compiled kernels, or why they are missing; looked for, or compiled, once in a process."""
    if not _found:
        with _lock:
            if not _found:
                library, reason, failed = _find()
                _found.append((library, reason))
                if failed:
                    advice = "CORINTH_NATIVE=0 in the environment does without them"
                    warnings.warn(
                        f"kernels for networks on this processor are missing: {reason}; {advice}", stacklevel=2
                    )
    return _found[0]


def _find() -> tuple[ctypes.CDLL | None, str | None, bool]:
    """The kernels; why they are missing; whether that is because compiling failed."""
    if os.environ.get("CORINTH_NATIVE") == "0":
        return None, "CORINTH_NATIVE is 0", False
    if sys.platform == "win32":
        return None, "kernels are for Linux and macOS", False
    code = "\n".join((Path(__file__).parent / f"{name}.cpp").read_text() for name in SOURCES)
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    flags = (*FLAGS, WIDE) if wide else FLAGS
    code += f"\n// {hashlib.sha256(_processor().encode()).hexdigest()}\n"  # torch's cache knows code and flags only
    made_of = "\n".join((code, *flags, torch.__version__, *(os.environ.get(name, "") for name in OF_TORCH)))
    kept = cache_folder() / "native" / f"{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.so"
    library = _load(kept)
    if library is None:
        try:
            if (reason := missing_compiler()) is not None:
                return None, reason, False
            library = _compile(code, flags, kept)
        except Exception as error:  # noqa: BLE001  # a compiler may raise anything: it is said, and torch does the work
            return None, _cause(error), True
    for name, signature in SIGNATURES.items():
        getattr(library, name).argtypes, getattr(library, name).restype = signature, None
    return library, None, False


def _cause(error: Exception) -> str:
    """The line that names it: a compiler's first error, or the first one of all."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines[1:] if "error" in line.lower()), lines[0])


def _load(kept: Path) -> ctypes.CDLL | None:
    """What was compiled before; none if it is not there, or not for this system any more."""
    try:
        return ctypes.CDLL(str(kept))
    except OSError:
        return None


def _processor() -> str:
    """What machine code for this processor alone depends on."""
    known = [platform.machine(), platform.processor()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():  # Linux
        lines = cpuinfo.read_text().splitlines()
        known += sorted({line for line in lines if re.match(r"flags|Features|CPU part|cpu\s*:", line)})
    return "\n".join(known)


def _compile(code: str, flags: Sequence[str], keep: Path) -> ctypes.CDLL:
    """By torch's own compiler of C++, which knows this system's options; kept for the next process."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)  # torch's own, about its own code
        from torch._inductor.codecache import CppCodeCache

        library: Any = CppCodeCache.load(code, extra_flags=tuple(flags))
    with suppress(CorinthError), replacing(keep) as temporary:  # a cache that cannot be written to is no reason to stop
        shutil.copyfile(library._name, temporary)
    return library
