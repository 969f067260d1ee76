"""Memory of a block of code: the peak it needed on top of what the process had, and freed memory that stays at hand."""

import ctypes
import gc
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# malloc.h of the GNU C library: what is set, and its values while freed memory is kept and otherwise. The latter are
# the most that the library would choose for itself, as it cannot be told to choose again; see mallopt(3)
MALLOC = {"M_MMAP_MAX": -4, "M_TRIM_THRESHOLD": -1, "M_MMAP_THRESHOLD": -3}
KEPT = {"M_MMAP_MAX": 0, "M_TRIM_THRESHOLD": -1}
GIVEN_BACK = {"M_MMAP_MAX": 65536, "M_TRIM_THRESHOLD": 2**26, "M_MMAP_THRESHOLD": 2**25}
_lock = threading.Lock()
_state = {"wanted": False, "blocks": 0, "kept": False}  # for good; by blocks that are open; what malloc was told


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
    if (trim := _c_function("malloc_trim")) is not None:
        trim(0)


@contextmanager
def freed_memory_kept() -> Generator[bool]:
    """Let freed memory stay with the process inside the block; gives whether this C library can (GNU's can).

    Otherwise each tensor above 32 MiB is mapped anew, and the system clears its pages at first touch, in every step;
    with batches of large maps on a CPU that takes as long as the arithmetic. Afterwards what was kept is given back.
    """
    with _lock:
        _state["blocks"] += 1
        kept = _apply()
    try:
        yield kept
    finally:
        with _lock:
            _state["blocks"] -= 1
            _apply()


def keep_freed_memory(keep: bool) -> bool:
    """Keep freed memory for good, or no longer; returns whether it is kept now. See `freed_memory_kept`."""
    with _lock:
        _state["wanted"] = keep
        return _apply()


def freed_memory_is_kept() -> bool:
    return bool(_state["kept"])


def _apply() -> bool:
    """Tell malloc what is wanted, where that has changed."""
    keep = bool(_state["wanted"] or _state["blocks"])
    mallopt = _c_function("mallopt")
    if mallopt is None or keep == _state["kept"]:
        return bool(_state["kept"])
    _state["kept"] = keep and all(mallopt(MALLOC[name], value) for name, value in KEPT.items())
    if not _state["kept"]:
        for name, value in GIVEN_BACK.items():
            mallopt(MALLOC[name], value)
        release_memory()
    return bool(_state["kept"])


def _c_function(name: str) -> Any:
    """A function of the C library of Linux; None where it has none of that name (musl lacks these)."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
