"""Where a checkpoint comes from: what goes on being said of the weights that are made from it."""

from pathlib import Path
from typing import Any

from corinth.errors import WeightsError
from corinth.weights.describing import known_checkpoint
from corinth.weights.folder import read_config
from corinth.weights.hub import digest_of, hub_id
from corinth.weights.reading import find_file

NOT_STATED = "not stated"


def origin_of(weights: str | Path) -> dict[str, Any]:
    """Title (the id, or the path), sha256 of the file, licence and origin; url and revision where they are known."""
    file = find_file(weights)
    known = known_checkpoint(weights)
    before = known.to_source() if known is not None else _own_source(file)
    more = {name: before[name] for name in ("url", "revision") if before.get(name) is not None}
    return {
        "title": str(weights).partition("#")[0] if hub_id(weights) else str(weights),
        "sha256": digest_of(file),
        "licence": str(before.get("licence", NOT_STATED)),
        "origin": str(before.get("origin", NOT_STATED)),
        **more,
    }


def _own_source(file: Path) -> dict[str, Any]:
    try:
        return dict(read_config(file).source or {})
    except WeightsError:
        return {}
