"""Handwritten digits of scikit-learn on dark canvases: small scenes whose boxes are exact."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def scenes(*, count: int, side: int, seed: int, digits: int = 3) -> tuple[np.ndarray, list[np.ndarray]]:
    """uint8 (count, side, side), and float32 (n, 5) each: label, x1, y1, x2, y2. No two boxes overlap."""
    known = load_digits()
    rng = np.random.default_rng(seed)
    images = np.zeros((count, side, side), dtype=np.uint8)
    boxes: list[np.ndarray] = []
    for canvas in images:
        rows: list[list[float]] = []
        while len(rows) < digits:
            which, size = rng.integers(len(known.images)), int(rng.integers(side // 5, side // 2))
            ink = Image.fromarray((known.images[which] * 15.9).astype(np.uint8)).resize((size, size))
            pixels = np.asarray(ink)
            ys, xs = np.nonzero(pixels > 40)
            pixels = pixels[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
            h, w = pixels.shape
            x, y = int(rng.integers(side - w + 1)), int(rng.integers(side - h + 1))
            if any(x < r[3] and r[1] < x + w and y < r[4] and r[2] < y + h for r in rows):
                continue
            canvas[y : y + h, x : x + w] = pixels
            rows.append([known.target[which], x, y, x + w, y + h])
        boxes.append(np.array(rows, dtype=np.float32))
    return images, boxes


def write_coco(folder: Path, *, count: int, side: int, seed: int) -> Path:
    """Scenes as PNG files with COCO's annotations beside them, without parts; gives the folder."""
    images, boxes = scenes(count=count, side=side, seed=seed)
    content: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    for i, (image, rows) in enumerate(zip(images, boxes)):
        Image.fromarray(image).save(folder / f"{i}.png")
        content["images"].append({"id": i, "file_name": f"{i}.png"})
        for label, x1, y1, x2, y2 in rows.astype(int).tolist():
            number = len(content["annotations"]) + 1
            box = [x1, y1, x2 - x1, y2 - y1]
            content["annotations"].append({"id": number, "image_id": i, "category_id": label, "bbox": box})
    content["categories"] = [{"id": label, "name": f"digit {label}"} for label in range(10)]
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder


def write_voc(folder: Path, *, count: int, side: int, seed: int) -> Path:
    """The same scenes in Pascal VOC's folders; the last sixths are to validate and to test on, as lists of it say."""
    images, boxes = scenes(count=count, side=side, seed=seed)
    pictures, annotations, lists = (folder / name for name in ("JPEGImages", "Annotations", "ImageSets/Main"))
    for made in (pictures, annotations, lists):
        made.mkdir(parents=True)
    for i, (image, rows) in enumerate(zip(images, boxes)):
        Image.fromarray(image).save(pictures / f"{i}.png")
        (annotations / f"{i}.xml").write_text(voc_annotation((side, side), rows.astype(int).tolist()))
    held = count // 6
    for part, numbers in {
        "train": range(count - 2 * held),
        "val": range(count - 2 * held, count - held),
        "test": range(count - held, count),
    }.items():
        (lists / f"{part}.txt").write_text("".join(f"{i}\n" for i in numbers))
    return folder


def voc_annotation(size: tuple[int, int], rows: list[list[int]]) -> str:
    """The XML of one image (width, height) and its rows (label, x1, y1, x2, y2); VOC counts pixels from 1."""
    width, height = size
    objects = "".join(
        f"<object><name>digit {label}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for label, x1, y1, x2, y2 in rows
    )
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"
