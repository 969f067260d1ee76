"""Which device a name means, whether it is here, and what its arithmetic is made for."""

import platform

import torch

from corinth.errors import UsageError
from corinth.layers import onednn

NO_BFLOAT16 = "this processor has no bfloat16 instructions (AVX512-BF16)"


def choose_device(name: str | torch.device) -> torch.device:
    """`auto` is the first CUDA device, else Apple's, else the CPU."""
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is not valid; it must be auto, cpu, cuda, cuda:1 or mps") from error
    found = {"cuda": torch.cuda.device_count(), "mps": int(mps), "cpu": 1}.get(device.type, 0)
    if (device.index or 0) >= found:
        raise UsageError(f"device {str(name)!r} is not here: torch {torch.__version__} sees {found} of its kind")
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast there: a CPU without instructions for it (of x86 AVX512-BF16) is several times slower
    than in float32."""
    if device.type != "cpu":
        return True
    return onednn.knows_bfloat16() and (
        platform.machine() not in ("x86_64", "AMD64") or torch.cpu._is_avx512_bf16_supported()
    )
