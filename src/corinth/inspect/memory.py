"""Peak memory of a block of code: what the process needed on top of what it had."""

import ctypes
import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class PeakMemory:
    """`bytes`: how far memory rose above its start inside the block; None until it ends, or where unmeasurable."""

    bytes: int | None = None
    kind: str | None = None  # "resident" (the process) or "cuda" (torch's allocator)


@contextmanager
def peak_memory(device: str | torch.device = "cpu") -> Generator[PeakMemory]:
    """Measure the highest memory inside the block.

    On CUDA: torch's peak allocation. Elsewhere, on Linux: the growth of the resident set, from VmHWM, which is
    reset through /proc/self/clear_refs (proc(5)); memory that the allocator had kept from before is not seen, and
    an inner block resets the mark of an outer one. Where neither exists `bytes` stays None.
    """
    peak = PeakMemory()
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes, peak.kind = torch.cuda.max_memory_allocated(device) - before, "cuda"
        return
    start = resident_memory() if _reset_high_water_mark() else None
    yield peak
    end = _status("VmHWM")
    if start is not None and end is not None:
        peak.bytes, peak.kind = max(end - start, 0), "resident"


def resident_memory() -> int | None:
    """Bytes of this process in memory now; None where the system does not say (only Linux does)."""
    return _status("VmRSS")


def _reset_high_water_mark() -> bool:
    if sys.platform != "linux":
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not permitted in some sandboxes
        return False
    return True


def _status(key: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def release_memory() -> None:
    """Give freed memory back, so that one run's peak is not hidden by what the run before it left."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)
