"""Fetching a file whose sha256, or its beginning, is known: the right bytes arrive under its name, or nothing does."""

import hashlib
import http.client
import shutil
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from corinth.data.collect import Progress
from corinth.errors import CorinthError, DataError
from corinth.files import replacing

_CHUNK = 1 << 20


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    progress: Progress | None = None,
    timeout: float = 30,
    error: type[CorinthError] = DataError,
    elsewhere: str = ", or name the folder that has it in CORINTH_DATA",
) -> Path:
    """Fetch `url` to `target` unless it is there with the right hash. `progress` counts bytes (total 0: unknown).

    `sha256` is the whole or its first digits. What goes wrong is an `error`, which says where to put the file, or
    `elsewhere`.
    """
    if target.is_file() and file_sha256(target).startswith(sha256):
        return target
    with _Response(url, target, timeout, error, elsewhere) as response, replacing(target) as temporary:
        digest, done = hashlib.sha256(), 0
        with open(temporary, "wb") as file:
            while chunk := response.read():
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if progress:
                    progress(f"fetching {target.name}", done, response.total)
        if not digest.hexdigest().startswith(sha256):
            raise error(
                f"{url} gave other bytes than expected (sha256 {digest.hexdigest()[:12]}…, not {sha256[:12]}…); "
                f"nothing was kept: fetch the file yourself and put it at {target}"
            )
    return target


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive's top entries into `folder`, each whole or not at all, and remove the archive."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as temporary:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")  # refuses links and paths that lead outside
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"{archive}: cannot be unpacked ({error}); remove it and try again") from error
        for child in Path(temporary).iterdir():
            place = folder / child.name
            if place.is_dir():
                shutil.rmtree(place)
            child.rename(place)
    archive.unlink()


class _Response:
    """An open URL whose troubles, at opening or in the middle, are one sentence with the way out."""

    def __init__(self, url: str, target: Path, timeout: float, error: type[CorinthError], elsewhere: str) -> None:
        self._url, self._target, self._error, self._elsewhere = url, target, error, elsewhere
        self._raw = self._try(urllib.request.urlopen, url, timeout=timeout)
        self.total = int(self._raw.headers.get("Content-Length") or 0)

    def read(self) -> bytes:
        return self._try(self._raw.read, _CHUNK)

    def __enter__(self) -> "_Response":
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def _try(self, call: Any, *args: Any, **options: Any) -> Any:
        try:
            return call(*args, **options)
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            raise self._error(
                f"{self._target.name} is not on this machine and could not be fetched from {self._url} "
                f"({getattr(error, 'reason', error)}); put the file into {self._target.parent}{self._elsewhere}"
            ) from error
