"""Which device a name means, and whether it is here."""

import torch

from corinth.errors import UsageError


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
