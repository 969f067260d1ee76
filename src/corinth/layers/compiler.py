"""Whether parts of a network are compiled here: torch's compilers, and our own kernels, need C++ for a CPU."""

import contextlib
from collections.abc import Generator
from contextvars import ContextVar

_compiles: ContextVar[bool] = ContextVar("compiles", default=True)


@contextlib.contextmanager
def uncompiled() -> Generator[None]:
    """Inside of this block layers run as they are written, operator by operator: the plain twin of what is compiled."""
    token = _compiles.set(False)
    try:
        yield
    finally:
        _compiles.reset(token)


def compiles() -> bool:
    """Whether this is not inside of `uncompiled`."""
    return _compiles.get()


def missing_compiler() -> str | None:
    """Why nothing can be compiled here, in one sentence; None if it can."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler was found on this machine (install g++, or name one in the variable CXX)"
    return None
