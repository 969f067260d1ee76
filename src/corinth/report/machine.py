"""Where something ran, and with which versions."""

import datetime
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import corinth


def machine_facts(threads: Iterable[int | None] = ()) -> dict[str, Any]:
    """Plain values for JSON; `threads` are those that were asked for, None meaning torch's own choice."""
    used = sorted({asked or torch.get_num_threads() for asked in threads})
    return {
        "date": datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": used,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "corinth": corinth.__version__,
        **{name: version(name) for name in ("torch", "numpy", "scipy")},
    }


def machine_lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The same as pairs of words, for a page."""
    threads = " and ".join(map(str, facts["threads"]))
    used = f", training on {threads} thread{'s' if threads != '1' else ''}" if threads else ""
    machine = f"{facts['processor']}, {facts['cores']} cores{used}"
    versions = ", ".join(f"{name} {facts[name]}" for name in ("corinth", "torch", "numpy", "scipy"))
    lines = [("Machine", machine), ("System", facts["system"]), ("Versions", f"Python {facts['python']}, {versions}")]
    return lines if facts["cuda"] is None else [("GPU", facts["cuda"]), *lines]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
