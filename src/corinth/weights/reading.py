"""From a path to plain tensors: safetensors, or a PyTorch pickle that may hold nothing but data."""

import dataclasses
import json
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from corinth.errors import WeightsError
from corinth.weights.hub import fetch, hub_id

PICKLES = (".pth", ".pt", ".th", ".bin", ".tar")
SUFFIXES = (".safetensors", *PICKLES)
MODEL_FILE = "model.safetensors"  # what a run folder has
PLAIN_STEMS = ("model", "pytorch_model")  # files that are named after what they hold by their folder
PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and torch.compile, in whatever order they wrapped
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")
_BROKEN = (  # what torch.load was seen to raise over damaged bytes, besides its own errors
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OverflowError,
    TypeError,
    ValueError,
    struct.error,
)
METADATA = "corinth"  # our own safetensors carry their config.json under this name


@dataclass(frozen=True)
class Tensors:
    """The tensors of a checkpoint by its own names, and what was taken off to find them."""

    state: dict[str, Tensor]
    where: str  # for messages: the file, or "the state dict"
    path: Path | None = None
    metadata: dict[str, Any] | None = None  # the config.json inside a file that Corinth wrote
    notes: tuple[str, ...] = ()
    architecture: str | None = None  # what the metadata of another library's safetensors call it


def find_file(path: str | Path) -> Path:
    """The weights file that `path` means: itself, a run folder's, the only one in a folder, or that of a hub's id."""
    if (wanted := hub_id(path)) is not None:
        return fetch(wanted).path
    path = Path(path)
    if path.is_dir():
        if (path / MODEL_FILE).is_file():
            return path / MODEL_FILE
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(file.name for file in found)
            raise WeightsError(f"{path} has several weights files ({names}); name the one to load")
        raise WeightsError(f"{path} has no weights file; one of {', '.join(SUFFIXES)} was expected")
    if not path.exists():
        raise WeightsError(f"there is no weights file {path}")
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"{path} is no weights file that can be read; {', '.join(SUFFIXES)} can")
    return path


def read_tensors(path: str | Path) -> Tensors:
    """Every tensor of a file, a folder or a hub's id, on the CPU; nothing in the file is executed."""
    if (wanted := hub_id(path)) is not None:
        fetched = fetch(wanted)
        found = read_tensors(fetched.path)
        return dataclasses.replace(found, where=str(wanted), notes=(*found.notes, fetched.note))
    file = find_file(path)
    try:
        if file.stat().st_size == 0:
            raise WeightsError(f"{file} is empty (0 bytes)")
        if file.suffix == ".safetensors":
            state, metadata, architecture = _read_safetensors(file)
            found = unwrap(state, str(file), path=file, metadata=metadata)
            return dataclasses.replace(found, architecture=architecture)
        return unwrap(_read_pickle(file), str(file), path=file)
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror or error}") from error


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None, str | None]:
    try:
        with safe_open(file, framework="pt") as opened:
            said = opened.metadata() or {}
            text = said.get(METADATA)
            metadata = json.loads(text) if text else None
            if not isinstance(metadata, dict | None):
                raise WeightsError(f"{file} has metadata of Corinth's that are no mapping; it was not written by it")
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            return state, metadata, said.get("architecture")
    except (SafetensorError, json.JSONDecodeError) as error:
        raise WeightsError(f"{file} is damaged or cut short, not a whole safetensors file ({error})") from error


def _read_pickle(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about TorchScript, which is refused below
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise WeightsError(
                f"{file} was refused: it holds {named[1]!r}, and reading that could run code; "
                "only plain tensors are read, so save its state_dict() or a .safetensors file instead"
            ) from error
        raise WeightsError(f"{file} is damaged, or no PyTorch checkpoint of plain tensors") from error
    except RuntimeError as error:
        if "TorchScript" in str(error):
            raise WeightsError(f"{file} was refused: it is a TorchScript program; save its state_dict()") from error
        raise WeightsError(f"{file} is damaged or cut short, not a whole PyTorch checkpoint") from error
    except _BROKEN as error:
        raise WeightsError(f"{file} is damaged or cut short, not a whole PyTorch checkpoint") from error


def unwrap(loaded: Any, where: str, *, path: Path | None = None, metadata: dict[str, Any] | None = None) -> Tensors:
    """Find the tensors inside `{"state_dict": ...}` and behind the prefixes that wrappers add."""
    notes = []
    if isinstance(loaded, Mapping) and not _is_state(loaded):
        for name in WRAPPERS:
            if _is_state(loaded.get(name)):
                notes.append(f"taken from the entry {name!r}")
                loaded = loaded[name]
                break
    if not _is_state(loaded):
        raise WeightsError(f"{where} holds no state dict: a mapping of names to tensors was expected")
    state = dict(loaded)
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
        notes.append(f"the prefix {prefix!r} was taken off every name")
    return Tensors(state, where, path, metadata, tuple(notes))


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in value.items())
    )
