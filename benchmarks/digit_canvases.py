"""Find handwritten digits on canvases: a detection task made of real images, whose boxes are exact.

    python benchmarks/digit_canvases.py [--model fcos_resnet18] [--epochs 8] [--seed 0] [--threads 1]

Writes a COCO-format folder from `mnist_t10k` in $CORINTH_DATA: black canvases of 128 x 128 pixels with 1 to 6 digits of
14 to 56 pixels, some of which touch; the boxes are those of the ink. The first 8,000 of the 10,000 images make the
canvases to train and validate on, the last 2,000 those to test on, so no handwriting is in both. Then
`corinth train --data FOLDER --model ...` and `corinth evaluate RUN`. The numbers go to benchmarks/results/.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

import corinth
from common import machine, trained

SIDE = 128
DIGITS = (1, 6)
SIZES = (14, 56)  # of the digit's own 28 x 28 image after resizing
OVERLAP = 0.1  # of the smaller box, at most
PARTS = {"train": (2000, 0, 7000), "val": (200, 7000, 8000), "test": (500, 8000, 10000)}  # canvases, digits from, to
RESULTS = Path(__file__).parent / "results" / "digit_canvases.json"


def canvas(digits: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[list[int]]]:
    """uint8 (SIDE, SIDE), and a row of label, x, y, width, height for each digit."""
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    rows: list[list[int]] = []
    wanted = int(rng.integers(DIGITS[0], DIGITS[1] + 1))
    for _ in range(20 * wanted):
        if len(rows) == wanted:
            break
        which = int(rng.integers(len(digits)))
        size = round(float(np.exp(rng.uniform(*np.log(SIZES)))))
        ink = np.asarray(Image.fromarray(digits[which]).resize((size, size), Image.Resampling.BILINEAR))
        ys, xs = np.nonzero(ink > 32)
        ink = ink[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        h, w = ink.shape
        x, y = int(rng.integers(SIDE - w + 1)), int(rng.integers(SIDE - h + 1))
        if any(_shared((x, y, w, h), row[1:]) > OVERLAP * min(w * h, row[3] * row[4]) for row in rows):
            continue
        image[y : y + h, x : x + w] = np.maximum(image[y : y + h, x : x + w], ink)
        rows.append([int(labels[which]), x, y, w, h])
    return image, rows


def _shared(a: tuple[int, ...], b: list[int]) -> int:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height)


def write(folder: Path, seed: int = 0) -> None:
    """The canvases as PNG files in a folder a part, and COCO's annotations."""
    source = corinth.open_data("mnist_t10k").source
    images = np.stack([source.image(i) for i in range(len(source))])
    (folder / "annotations").mkdir(parents=True)
    for part, (count, first, last) in PARTS.items():
        rng = np.random.default_rng([seed, first])
        (folder / part).mkdir()
        content: dict[str, list[dict]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": int(name), "name": name} for name in source.classes],
        }
        for i in range(count):
            image, rows = canvas(images[first:last], source.labels[first:last], rng)
            name = f"{i:05}.png"
            Image.fromarray(image).save(folder / part / name)
            content["images"].append({"id": i, "file_name": name, "width": SIDE, "height": SIDE})
            content["annotations"] += [
                {
                    "id": len(content["annotations"]) + number,
                    "image_id": i,
                    "category_id": label,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
                for number, (label, *box) in enumerate(rows, start=1)
            ]
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fcos_resnet18", choices=corinth.list_models(task="object-detection"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: as many as torch takes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, default=Path("runs") / "digit_canvases")
    parser.add_argument("--only-write", action="store_true", help="write the canvases and stop")
    args = parser.parse_args()
    data = args.folder / "data"
    if not data.exists():
        write(data)
    if args.only_write:
        return
    output = args.folder / f"{args.model}-seed{args.seed}"
    augmentation = {"random_resized_crop": (0.5, 1.0), "flip": False}
    started = time.monotonic()
    run = trained(
        arch=args.model,
        data=str(data),
        budget=f"{args.epochs}ep",
        seed=args.seed,
        threads=args.threads,
        device=args.device,
        output=str(output),
        precision="bf16",
        augmentation=augmentation,
    )
    if run.interrupted:
        sys.exit("interrupted")
    minutes = (time.monotonic() - started) / 60
    found = corinth.load_run(run.path, device=args.device).evaluate(corinth.open_data(str(data)))
    flags = f"--epochs {args.epochs} --seed {args.seed} --precision bf16 --augmentation.no-flip"
    row = {
        "arch": args.model,
        "command": f"corinth train --data {data} --model {args.model} {flags}",
        "map": round(found.map, 4),
        "map50": round(found.map50, 4),
        "map75": round(found.map75, 4),
        "per_class": {score.name: round(score.ap, 4) for score in found.per_class},
        "images": found.samples,
        "boxes": found.boxes,
        "minutes": round(minutes, 1),
        "machine": machine(),
        "curve": [{key: r.get(key) for key in ("epoch", "train_loss", "val_loss", "val_map")} for r in run.metrics],
    }
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    results = [r for r in results if (r["arch"], r["machine"]) != (row["arch"], row["machine"])] + [row]
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print({key: value for key, value in row.items() if key != "curve"})


if __name__ == "__main__":
    main()
