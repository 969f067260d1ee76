"""Fetching a file whose sha256 is known: the right bytes arrive under its name, or nothing does."""

import hashlib
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from corinth.data.collect import Progress
from corinth.errors import DataError
from corinth.files import replacing

_CHUNK = 1 << 20


def download(url: str, target: Path, *, sha256: str, progress: Progress | None = None, timeout: float = 30) -> Path:
    """Fetch `url` to `target` unless it is there with the right hash. `progress` counts bytes (total 0: unknown)."""
    if target.is_file() and file_sha256(target) == sha256:
        return target
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response, replacing(target) as temporary:
            total, done = int(response.headers.get("Content-Length") or 0), 0
            with open(temporary, "wb") as file:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    if progress:
                        progress(f"fetching {target.name}", done, total)
            if digest.hexdigest() != sha256:
                raise DataError(
                    f"{url} gave other bytes than expected (sha256 {digest.hexdigest()[:12]}…, not {sha256[:12]}…); "
                    f"nothing was kept: fetch the file yourself and put it at {target}"
                )
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{target.name} is not on this machine and could not be fetched from {url} ({reason}); "
            f"put the file into {target.parent}, or name its folder in CORINTH_DATA"
        ) from error
    return target


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive's top folders into `folder`, whole or not at all, and remove the archive."""
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
