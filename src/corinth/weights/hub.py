"""Weights from where the world keeps them: `timm:resnet50.a1_in1k`, `torchvision:ResNet50_Weights.IMAGENET1K_V2`.

A file is fetched once, into the cache, and its sha256 is recorded; whatever is used under the same id later must have
the same. `#sha256=` after an id pins it from the start.
"""

import contextlib
import difflib
import functools
import json
import os
import re
import shutil
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock

from corinth.data.collect import Progress
from corinth.data.download import download, file_sha256
from corinth.errors import CorinthError, UsageError, WeightsError
from corinth.files import cache_folder, write_json

HubSource = Literal["timm", "torchvision"]
TIMM_FILES = ("model.safetensors", "config.json")
PIN = "pin.json"  # beside the files of an id
_ID = re.compile(r"(timm|torchvision):([^#]*)(#.*)?")
_TIMM_NAME = re.compile(r"[a-z0-9][a-z0-9_]*\.[A-Za-z0-9][\w.-]*")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class HubId:
    """An id, whole: of torchvision's several spellings the one with the name of the class."""

    source: HubSource
    name: str
    sha256: str | None = None  # which its user wants

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"

    @property
    def folder(self) -> Path:
        """Where its files are kept."""
        return cache_folder() / "weights" / self.source / self.name


@dataclass(frozen=True)
class HubFile:
    """The file of an id on this machine, as it was checked."""

    id: HubId
    path: Path
    url: str
    revision: str | None  # the hub's commit; torchvision has none
    sha256: str
    note: str  # what the sha256 was checked against

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its publisher says of it: timm's config.json, torchvision's row of the table."""
        if self.id.source == "torchvision":
            return torchvision_row(self.id)
        return read_facts(self.path.parent / TIMM_FILES[1])


@dataclass(frozen=True)
class Pin:
    """What was recorded when an id was first used."""

    url: str
    revision: str | None
    sha256: Mapping[str, str] = field(default_factory=dict)  # file name -> sha256


def hub_id(weights: object) -> HubId | None:
    """The id that `weights` is; None where it is a path or tensors. A malformed id is a `UsageError`."""
    match = _ID.fullmatch(str(weights)) if isinstance(weights, str | Path) else None
    if match is None:
        return None
    name, fragment = match[2], (match[3] or "").lower()
    if fragment and not _SHA256.fullmatch(fragment.removeprefix("#sha256=")):
        raise UsageError(f"{weights}: what follows # must be sha256= and 64 hexadecimal digits")
    sha256 = fragment.removeprefix("#sha256=") or None
    if match[1] == "torchvision":
        return HubId("torchvision", _torchvision_name(name), sha256)
    if not _TIMM_NAME.fullmatch(name):
        raise UsageError(f"timm:{name} names no weights; timm's are ARCHITECTURE.TAG, such as timm:resnet50.a1_in1k")
    return HubId("timm", name, sha256)


def fetch(wanted: HubId, *, progress: Progress | None = None) -> HubFile:
    """The file of an id, from this machine or from the network, checked; `WeightsError` where it cannot be had.

    `progress` counts the bytes of a download. What is on this machine already is used without the network: the files
    in the cache, or those that timm and torchvision themselves fetched before.
    """
    pin = _read_pin(wanted)
    found = _on_this_machine(wanted)
    if found is None:
        with _alone(wanted.folder):
            found = _on_this_machine(wanted) or _download(wanted, pin, progress)
    path, revision = found
    pin = pin or _read_pin(wanted)  # written by the download
    files = [path] if wanted.source == "torchvision" else [path.parent / name for name in TIMM_FILES]
    digests = {file.name: digest_of(file) for file in files}
    sha256 = digests[path.name]
    if wanted.sha256 not in (None, sha256):
        raise WeightsError(f"{path} has the sha256 {sha256}, and {wanted} was asked for with {wanted.sha256}")
    if wanted.source == "torchvision" and not sha256.startswith(prefix := torchvision_row(wanted)["sha256"]):
        raise WeightsError(f"{path} is damaged: its sha256 is {sha256[:12]}… and should begin with {prefix}; remove it")
    recorded = True
    if pin is None:
        pin = Pin(url=_url(wanted, revision), revision=revision, sha256=digests)
        recorded = _write_pin(wanted, pin)
    for name, digest in digests.items():
        if pin.sha256.get(name, digest) != digest:
            raise WeightsError(
                f"{path.parent / name} has the sha256 {digest[:12]}…, and {wanted} had {pin.sha256[name][:12]}… when "
                f"first used here: remove the file to fetch it again, or {wanted.folder / PIN} to trust this one"
            )
    if wanted.sha256:
        how = "as asked for"
    elif recorded:
        how = f"trusted at its first use here and the same since; {wanted}#sha256={sha256} holds it to that anywhere"
    else:
        how = f"trusted without a record, as {wanted.folder} cannot be written to"
    at = f" at revision {pin.revision}" if pin.revision else ""
    return HubFile(wanted, path, pin.url, pin.revision, sha256, f"{wanted}{at} has the sha256 {sha256}, {how}")


@functools.cache
def torchvision_table() -> tuple[dict[str, Any], ...]:
    """Every set of weights; tools/torchvision_weights.py writes the file."""
    return tuple(json.loads(Path(__file__).with_name("torchvision.json").read_text(encoding="utf-8")))


def torchvision_row(wanted: HubId) -> dict[str, Any]:
    return next(row for row in torchvision_table() if row["id"] == wanted.name)


def _torchvision_name(name: str) -> str:
    """`ResNet50_Weights.DEFAULT`, `resnet50` and `ResNet50.imagenet1k_v2` are one."""
    model, _, tag = name.lower().partition(".")
    rows = [row for row in torchvision_table() if row["model"] == model.removesuffix("_weights")]
    if not rows:
        models = sorted({row["model"] for row in torchvision_table()})
        near = difflib.get_close_matches(model.removesuffix("_weights"), models, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(models)}"
        raise UsageError(f"torchvision has no weights {name!r} that Corinth could load; {hint}")
    for row in rows:
        if row["default"] if tag in ("", "default") else row["id"].lower().endswith(f".{tag}"):
            return row["id"]
    raise UsageError(f"torchvision has no weights {name!r}; it has {' and '.join(row['id'] for row in rows)}")


def _on_this_machine(wanted: HubId) -> tuple[Path, str | None] | None:
    """The file and, where that is known, its revision."""
    if wanted.source == "torchvision":
        name = Path(torchvision_row(wanted)["url"]).name
        places = [wanted.folder / name, Path(torch.hub.get_dir()) / "checkpoints" / name]
        return next(((place, None) for place in places if place.is_file()), None)
    if all((wanted.folder / name).is_file() for name in TIMM_FILES):
        return wanted.folder / TIMM_FILES[0], None
    import huggingface_hub as hub

    weights, config = (hub.try_to_load_from_cache(f"timm/{wanted.name}", name) for name in TIMM_FILES)
    if isinstance(weights, str) and isinstance(config, str):
        return Path(weights), Path(weights).parent.name
    return None


def _url(wanted: HubId, revision: str | None) -> str:
    if wanted.source == "torchvision":
        return torchvision_row(wanted)["url"]
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{endpoint}/timm/{wanted.name}/resolve/{revision or 'main'}/{TIMM_FILES[0]}"


def _download(wanted: HubId, pin: Pin | None, progress: Progress | None) -> tuple[Path, str | None]:
    if wanted.source == "timm":
        return _download_timm(wanted, pin, progress)
    row = torchvision_row(wanted)
    target = wanted.folder / Path(row["url"]).name
    sha256 = wanted.sha256 or (pin.sha256.get(target.name) if pin else None) or row["sha256"]
    return download(row["url"], target, sha256=sha256, progress=progress, error=WeightsError, elsewhere=""), None


def _download_timm(wanted: HubId, pin: Pin | None, progress: Progress | None) -> tuple[Path, str | None]:
    """Both files of one revision: that of the first use, or the newest. They take their names when they are whole."""
    import huggingface_hub as hub
    from huggingface_hub import errors

    url = _url(wanted, pin.revision if pin else None)
    repository, endpoint = f"timm/{wanted.name}", os.environ.get("HF_ENDPOINT")
    part = wanted.folder / ".part"  # stays after an interruption, to go on there
    try:
        stated = hub.get_hf_file_metadata(url, timeout=10, endpoint=endpoint)
        sha256 = stated.etag or ""
        expected = wanted.sha256 or (pin.sha256.get(TIMM_FILES[0]) if pin else None)
        if not _SHA256.fullmatch(sha256) or stated.commit_hash is None:
            raise WeightsError(f"{url} states no sha256 and revision, so nothing was fetched; is it a hub?")
        if expected not in (None, sha256):
            whose = "was asked for with" if wanted.sha256 else "was first used here with"
            raise WeightsError(f"{url} has the sha256 {sha256}, and {wanted} {whose} {expected}; nothing was fetched")
        for name in TIMM_FILES:
            hub.hf_hub_download(
                repository,
                name,
                revision=stated.commit_hash,
                local_dir=part,
                endpoint=endpoint,
                tqdm_class=_bar(f"fetching {wanted}", progress),
            )
    except errors.RepositoryNotFoundError as error:
        raise WeightsError(f"the hub has no {repository} ({url}); timm's ids are ARCHITECTURE.TAG") from error
    except (OSError, errors.HTTPError, RuntimeError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise WeightsError(
            f"{wanted} is not on this machine and could not be fetched from {url} ({reason}); "
            f"put its {' and '.join(TIMM_FILES)} into {wanted.folder}"
        ) from error
    if (digest := file_sha256(part / TIMM_FILES[0])) != sha256:
        shutil.rmtree(part)
        raise WeightsError(f"{url} gave other bytes (sha256 {digest[:12]}…) than it states ({sha256[:12]}…)")
    digests = {name: file_sha256(part / name) for name in TIMM_FILES}
    if pin is None:
        _write_pin(wanted, Pin(_url(wanted, stated.commit_hash), stated.commit_hash, digests))
    for name in TIMM_FILES:
        os.replace(part / name, wanted.folder / name)
    shutil.rmtree(part)
    return wanted.folder / TIMM_FILES[0], stated.commit_hash


def _bar(label: str, progress: Progress | None) -> type[Any]:
    """What the hub's library takes for a progress bar, telling `progress`; it draws nothing itself."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, total: int | None = None, initial: int = 0, **options: Any) -> None:
            self.done, self.all = initial, total or 0
            super().__init__(disable=True)

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            if progress:
                progress(label, self.done, self.all)

    return Bar


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None]:
    """One process at a time fetches: those of a distributed training all ask at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise WeightsError(f"{folder} cannot be written to ({error.strerror}); CORINTH_CACHE names another") from error
    try:
        yield
    finally:
        lock.release()


def _read_pin(wanted: HubId) -> Pin | None:
    file = wanted.folder / PIN
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return Pin(values["url"], values["revision"], {**values["sha256"]})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{file} is damaged; remove it to trust what is there now") from error


def _write_pin(wanted: HubId, pin: Pin) -> bool:
    """Whether it is on record now; a cache that cannot be written to is no reason to stop."""
    try:
        write_json(wanted.folder / PIN, {"id": str(wanted), **asdict(pin)})
    except CorinthError:
        return False
    return True


def read_facts(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{file} does not describe a model: it holds no mapping")
    return values


def digest_of(file: Path) -> str:
    status = file.stat()
    return _cached_digest(file, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _cached_digest(file: Path, size: int, changed: int) -> str:
    return file_sha256(file)
