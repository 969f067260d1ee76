"""What must be known of a checkpoint to use it, beside its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corinth.data.preprocess import Preprocess


@dataclass(frozen=True, kw_only=True)
class KnownCheckpoint:
    """A public file, recognised by its content or asked for by its id, and what its author trained it with."""

    title: str
    sha256: str
    size: int  # bytes
    arch: str
    options: Mapping[str, Any] = field(default_factory=dict)  # of the architecture; the weights make no sense without
    as_registered: bool = False  # every option not among `options` must be the registered one
    preprocess: Preprocess
    classes: tuple[str, ...]
    named: bool = True  # False: the classes are only numbered
    licence: str
    origin: str
    measured: str
    layout: str | None = None  # whose names it uses; None: they are looked at
    url: str | None = None
    revision: str | None = None

    def to_source(self) -> dict[str, Any]:
        """What config.json says under "source"."""
        source = {"title": self.title, "sha256": self.sha256, "licence": self.licence, "origin": self.origin}
        more = {"url": self.url, "revision": self.revision}
        return source | {name: value for name, value in more.items() if value is not None}
