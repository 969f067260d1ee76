"""The resume state: one file of plain data, either the old one or the new one at any moment.

Tensors are safetensors, everything else is JSON in that file's metadata: nothing in it can execute.
"""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from corinth.errors import TrainingError
from corinth.files import replacing

FORMAT = 1


def write_state(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """`tensors` may share or be strided as they like; `values` must be JSON."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": str(FORMAT), "values": json.dumps(values)}
    with replacing(path) as temporary:  # not save_file, which hides a full disk in an error of its own
        temporary.write_bytes(save(_unshared(plain), metadata))


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and values."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"the resume state {path} cannot be read: {error}") from error
    if metadata.get("format") != str(FORMAT):
        raise TrainingError(
            f"the resume state {path} has format {metadata.get('format')}; this version of Corinth reads {FORMAT}"
        )
    return tensors, json.loads(metadata["values"])


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What an optimizer remembers of each parameter: tensors and plain numbers, keyed `<parameter>.<name>`.

    Its settings are not part of it: they come from the recipe.
    """
    tensors, values = {}, {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            (tensors if isinstance(value, Tensor) else values)[f"{index}.{name}"] = value
    return tensors, values


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **values}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # in the parameter's memory format again, or the fused kernels take another path
                entries[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def random_state(device: torch.device, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Every random generator: torch's (and the device's), the task's, numpy's and Python's."""
    tensors = {"torch": torch.get_rng_state(), "task": generator.get_state()}
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, next_gauss = random.getstate()
    values = {
        "numpy": [kind, np.asarray(keys).tolist(), int(position), int(has_gauss), float(gauss)],
        "python": [version, list(internal), next_gauss],
    }
    return tensors, values


def load_random_state(
    device: torch.device, generator: torch.Generator, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Put it back. A generator of another kind of device than the one that was saved stays as it was seeded."""
    torch.set_rng_state(tensors["torch"])
    if tensors["task"].shape == generator.get_state().shape:
        generator.set_state(tensors["task"])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
    kind, keys, position, has_gauss, gauss = values["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    version, internal, next_gauss = values["python"]
    random.setstate((version, tuple(internal), next_gauss))


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied weights occur under two names; safetensors wants storage of its own for each."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        pointer = tensor.untyped_storage().data_ptr()
        if pointer in seen:
            tensors[name] = tensor.clone()
        seen.add(pointer)
    return tensors
