"""One image set with its splits."""

from dataclasses import dataclass
from typing import Any

from corinth.data.dataset import DataSet
from corinth.data.source import ImageSource


@dataclass(frozen=True, kw_only=True)
class ImageData(DataSet):
    """Images; none is decoded yet. `corrupt` lists files whose header could not be read; damage further inside shows
    when a store is made. `native_size` is the median (H, W), `channels` 1 if all images are grey, else 3.
    """

    source: ImageSource
    native_size: tuple[int, int]
    channels: int

    def facts(self) -> dict[str, Any]:
        return {"native_size": list(self.native_size), "channels": self.channels}

    def describe(self) -> str:
        kind = "grey" if self.channels == 1 else "colour"
        return f"{kind}, median size {self.native_size[0]} × {self.native_size[1]}"
