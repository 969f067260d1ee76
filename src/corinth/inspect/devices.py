"""Which device a name means, whether it is here, and what its arithmetic is made for."""

import platform

import torch

from corinth.errors import UsageError
from corinth.layers import onednn


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


def lacks_bfloat16(device: torch.device) -> str | None:
    """Why bfloat16 is slower than float32 there, on a CPU several times; None where it is faster."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            known = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if known else "this GPU has no bfloat16 arithmetic"
    if device.type != "cpu":
        return None
    if not torch.backends.mkldnn.is_available():
        return "this torch comes without oneDNN, which computes in bfloat16"
    x86 = platform.machine() in ("x86_64", "AMD64")
    if onednn.knows_bfloat16() and (not x86 or torch.cpu._is_avx512_bf16_supported()):
        return None
    return f"this processor has no bfloat16 instructions{' (AVX512-BF16)' if x86 else ''}"
