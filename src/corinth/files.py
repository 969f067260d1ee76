"""Files that are either the old or the new, never half: written under a temporary name, synced, renamed."""

import errno
import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from corinth.errors import CorinthError


def cache_folder() -> Path:
    """Where what was fetched, or made once for this machine, is kept: $CORINTH_CACHE, else ~/.cache/corinth."""
    return Path(os.environ.get("CORINTH_CACHE") or "~/.cache/corinth").expanduser()


@contextmanager
def replacing(path: str | Path) -> Generator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it is synced and takes `path`'s place.

    If the block fails the temporary file is removed and `path` is untouched. A full disk or a folder that
    cannot be written to becomes a `CorinthError` that names the file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # containers share numbers of processes
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        _discard(temporary)
        raise CorinthError(_why(path, error)) from error
    except BaseException:
        _discard(temporary)
        raise


def sweep(folder: Path) -> None:
    """Remove the temporary files that processes killed while writing left in a folder that is no longer written to."""
    for left in folder.rglob(".*.tmp"):
        _discard(left)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def append_line(path: str | Path, value: Any) -> None:
    """Append one JSON line; a reader must expect the last line to be cut if the process was killed in it."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")
    except OSError as error:
        raise CorinthError(_why(Path(path), error)) from error


def _why(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"could not save {path}: the disk is full; what was there before is untouched, free some space and resume"
        )
    return f"could not save {path}: {error.strerror or error}; what was there before is untouched"


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
