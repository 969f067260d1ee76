"""Whether this machine can compile: torch's compilers of networks and of recurrent steps both need C++ for a CPU."""


def missing_compiler() -> str | None:
    """Why nothing can be compiled here, in one sentence; None if it can."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler was found on this machine (install g++, or name one in the variable CXX)"
    return None
