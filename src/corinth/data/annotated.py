"""What the readers of box annotations hand on: one image with its boxes, before its file has been looked at."""

from dataclasses import dataclass


@dataclass
class Annotated:
    """The boxes of one image in pixels, continuous, from 0, as `corinth.data.boxes` describes them."""

    path: str
    key: str
    split: str | None
    size: tuple[int, int] | None  # (H, W) that the annotation states
    names: list[str]  # a class for each box
    corners: list[tuple[float, float, float, float]]  # x1, y1, x2, y2, continuous
    ignore: list[bool]
    problem: str | None = None  # why the annotation cannot be used
