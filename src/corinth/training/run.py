"""The folder that a training leaves."""

import datetime
import itertools
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
import yaml

import corinth
from corinth.errors import UsageError
from corinth.files import write_text
from corinth.training.processes import Processes
from corinth.training.recipe import Recipe

RECIPE, METRICS, STATE = "recipe.yaml", "metrics.jsonl", "last/state.safetensors"


@dataclass(frozen=True)
class Run:
    """A training, finished or not. `metrics` has one row an evaluation; `best` is the row that was saved."""

    path: Path
    recipe: Recipe
    metrics: tuple[dict[str, Any], ...]
    best: dict[str, Any] | None
    reason: str  # why it ended: "budget", "early stopping" or "interrupted"

    @property
    def interrupted(self) -> bool:
        return self.reason == "interrupted"

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Read a run folder; `reason` is "interrupted" unless the training came to its end."""
        path = Path(path)
        if not (path / RECIPE).is_file():
            raise UsageError(f"{path} is no run folder: it has no {RECIPE}")
        rows = read_metrics(path / METRICS)
        best = next((row for row in reversed(rows) if row.get("best")), None)
        reason = rows[-1].get("ended", "interrupted") if rows else "interrupted"
        return cls(path, Recipe.from_yaml(path / RECIPE), tuple(rows), best, reason)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def write_metrics(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def new_folder(recipe: Recipe, data_name: str, processes: Processes) -> Path:
    """The recipe's output, which must be free, or `runs/<date>-<arch>-<data>` with a number where that is taken."""
    if recipe.output is not None:
        path = Path(recipe.output)
        taken = processes.is_main and path.exists() and (not path.is_dir() or any(path.iterdir()))
        if processes.gather(taken)[0]:  # the others wait, and never look: the main process writes there from here on
            raise UsageError(f"{path} exists and is not empty; choose another output, or go on with resume={path}")
        return path
    stem = f"{datetime.date.today():%Y-%m-%d}-{recipe.arch}-{data_name}"
    made = ""
    if processes.is_main:
        names = (stem if i == 1 else f"{stem}-{i}" for i in itertools.count(1))
        made = next(str(path) for name in names if _made(path := Path("runs") / name))
    return Path(processes.gather(made)[0])


def _made(path: Path) -> bool:
    """Make a folder, unless it is there: of two trainings that start together one gets it."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise UsageError(f"{path} cannot be made ({error.strerror}); choose another place with output") from error
    return True


def write_recipe(
    folder: Path, recipe: Recipe, data: dict[str, Any], network: dict[str, Any], device: torch.device
) -> None:
    """Everything needed to run it again: the recipe, the data's fingerprint, versions and the machine.

    `network` is what a resumed training builds again without looking at images or at the weights it started from.
    """
    on_gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    made_with = {
        "corinth": corinth.__version__,
        "torch": str(torch.__version__),
        "accelerate": accelerate.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": str(device),
        "threads": torch.get_num_threads(),
        **on_gpu,
    }
    text = yaml.safe_dump(
        {"recipe": recipe.to_dict(), "data": data, "network": network, "made_with": made_with},
        sort_keys=False,
        allow_unicode=True,
    )
    write_text(folder / RECIPE, text)


def read_origin(folder: Path) -> dict[str, Any]:
    """`recipe.yaml` whole: recipe, data, network and made_with."""
    return yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
