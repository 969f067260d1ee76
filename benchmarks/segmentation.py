"""Real segmentation in minutes of one CPU thread: membranes of cells under a microscope, and a street.

    CORINTH_DATA=... python benchmarks/segmentation.py [--data isbi_membrane ...] [--models unet_bn ...] [--seeds 2]
                                                       [--pictures FOLDER] [--again]
    CORINTH_DATA=... python benchmarks/segmentation.py --choose

`isbi_membrane` is a stack of 30 slices, so neighbours look alike: the parts are runs of slices, 0 to 21 to train, 22 to
24 to validate, 25 to 29 to test. `camvid_sample8` has 5 training images of one drive, of which the last one validates,
and 3 test images of another drive, a fifteenth of a second apart; its class 11 is CamVid's "unlabelled" and not
counted, the names of the others are CamVid's too, and the 4 images show no fence and no cyclist. Beside the networks
stands what needs none: the most frequent class everywhere and at each place, and of the membranes everything darker
than a threshold after a blur.

Each run is merged into benchmarks/results/segmentation.json when it is done, and not trained again without `--again`.
`--pictures` draws image, truth and prediction side by side for test images; the runs' folders are kept for that.
`--choose` is how the settings were found: the validation part alone is scored.
"""

import argparse
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

import corinth
from common import machine, real_data, trained
from corinth.data.images import ImageData
from corinth.data.masks import MaskSource
from corinth.data.preprocess import IGNORED
from corinth.predictor.segmentation import SegmentationEvaluation, Segmenter
from corinth.tasks.segmentation import confusion, overlaps

RESULTS = Path(__file__).parent / "results" / "segmentation.json"
STREET = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "cyclist"]
CLASSES = {"isbi_membrane": ["inside of a cell", "membrane"], "camvid_sample8": STREET}
UNET, FPN = "unet_bn", "semantic_fpn_mobilenetv2_100"
OPTIONS: dict[str, dict[str, Any]] = {UNET: {"width": 16}, FPN: {}}
FIELDS: dict[str, dict[str, Any]] = {
    "isbi_membrane": {"img_size": 256, "budget": "60ep", "evaluate_every": "6ep", "precision": "bf16"},
    "camvid_sample8": {"img_size": 240, "budget": "160ep", "evaluate_every": "16ep", "precision": "bf16"},
}
CHOICES: dict[str, dict[str, dict[str, Any]]] = {  # what was tried, in less time
    "isbi_membrane": {
        "512 pixels": {"img_size": 512, "budget": "12ep"},
        "512 pixels, batches of 1": {"img_size": 512, "budget": "12ep", "batch_size": 1},
        "256 pixels": {"img_size": 256, "budget": "48ep"},
    },
    "camvid_sample8": {
        "480 pixels": {"img_size": 480, "budget": "40ep"},
        "480 pixels, batches of 1": {"img_size": 480, "budget": "40ep", "batch_size": 1},
        "240 pixels": {"img_size": 240, "budget": "160ep"},
    },
}
SHOWN = (0, 2, 4)  # of the test images, in the pictures


def files_of(name: str) -> list[tuple[str, Path, Path]]:
    """Part, image and mask of each sample."""
    root = real_data(name)
    if name == "isbi_membrane":
        parts = ["train"] * 22 + ["val"] * 3 + ["test"] * 5
        folders = root / "train" / "image", root / "train" / "label"
        return [(part, folders[0] / f"{i}.png", folders[1] / f"{i}.png") for i, part in enumerate(parts)]
    found = []
    for part in ("train", "test"):
        images = sorted((root / f"images_prepped_{part}").glob("*.png"))
        found += [(part, image, root / f"annotations_prepped_{part}" / image.name) for image in images]
    last = max(i for i, (part, *_) in enumerate(found) if part == "train")
    found[last] = ("val", *found[last][1:])
    return found


def written(name: str, folder: Path) -> ImageData:
    """A folder as `corinth train --data` takes it: the parts, and masks of class ids."""
    if not (folder / "classes.txt").exists():  # which is written last
        for part, image, mask in files_of(name):
            for kind in ("images", "masks"):
                (folder / part / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(image, folder / part / "images" / image.name)
            values = np.asarray(Image.open(mask))
            ids = (values == 0).astype(np.uint8) if name == "isbi_membrane" else np.where(values == 11, IGNORED, values)
            Image.fromarray(ids.astype(np.uint8)).save(folder / part / "masks" / image.name)
        (folder / "classes.txt").write_text("\n".join(CLASSES[name]) + "\n")
    data = corinth.open_data(folder)
    assert isinstance(data, ImageData)
    return data


def pairs(data: ImageData, part: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images, and their class ids (h, w)."""
    source = data.source
    assert isinstance(source, MaskSource)
    return [(source.image(i), source.target(i)) for i in data.positions(part).tolist()]


def without_network(data: ImageData, answer: Callable[[np.ndarray], np.ndarray], part: str) -> dict[str, Any]:
    """The scores of an answer (h, w) for each image of a part."""
    counts = torch.zeros(data.num_classes, data.num_classes, dtype=torch.int64)
    for image, truth in pairs(data, part):
        said = torch.from_numpy(answer(image).astype(np.uint8))
        counts += confusion(said, torch.from_numpy(truth), data.num_classes)
    iou, dice = overlaps(counts)
    return {
        "miou": round(iou.nanmean().item(), 4),
        "dice": round(dice.nanmean().item(), 4),
        "pixel_accuracy": round((counts.trace() / counts.sum()).item(), 4),
        "iou": {name: None if one != one else round(one, 4) for name, one in zip(data.classes, iou.tolist())},
    }


def baselines(name: str, data: ImageData) -> dict[str, dict[str, Any]]:
    """Scores on the test part without a network; whatever they need is chosen on the training part."""
    masks = np.stack([mask for _, mask in pairs(data, "train")])
    counts = np.stack([(masks == number).sum(0) for number in range(data.num_classes)])  # (K, h, w)
    most = counts.sum((1, 2)).argmax()
    found = {
        "most frequent class": without_network(data, lambda image: np.full(image.shape[:2], most), "test"),
        "most frequent class at each place": without_network(data, lambda image: counts.argmax(0), "test"),
    }
    if name == "isbi_membrane":

        def dark(blur: float, level: int) -> Callable[[np.ndarray], np.ndarray]:
            return lambda image: ndimage.gaussian_filter(image.astype(np.float32), blur) < level

        tried = [(blur, level) for blur in (0, 1, 2, 3, 4) for level in range(60, 160, 5)]
        best = max(tried, key=lambda one: without_network(data, dark(*one), "train")["miou"])
        found[f"darker than {best[1]} after a blur of {best[0]} pixels"] = without_network(data, dark(*best), "test")
    return found


def scored(run: Path, data: ImageData, part: str) -> dict[str, Any]:
    found = corinth.load_run(run).evaluate(data, part)
    assert isinstance(found, SegmentationEvaluation)
    return {
        "miou": round(found.miou, 4),
        "dice": round(found.dice, 4),
        "pixel_accuracy": round(found.pixel_accuracy, 4),
        "iou": {one.name: None if one.iou is None else round(one.iou, 4) for one in found.per_class},
    }


def train(data: ImageData, arch: str, seed: int, threads: int, output: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """Train one network, and score it on the training and the validation part."""
    shutil.rmtree(output, ignore_errors=True)
    fields = {**fields, "options": OPTIONS[arch]}
    run = trained(arch=arch, data=data, seed=seed, threads=threads, output=str(output), **fields)
    return {
        "arch": arch,
        "seed": seed,
        **{part: scored(run.path, data, part) for part in ("train", "val")},
        "best_epoch": run.best["epoch"] if run.best else None,
        "minutes": round(run.metrics[-1]["seconds"] / 60, 1),
        "fields": fields,
        "machine": machine(),
    }


def draw(data: ImageData, run: Path, pictures: Path, stem: str) -> None:
    """Image, truth and prediction side by side, as `corinth predict --draw` draws masks."""
    predictor = corinth.load_run(run)
    assert isinstance(predictor, Segmenter)
    pictures.mkdir(parents=True, exist_ok=True)
    positions = data.positions("test").tolist()
    for position in [positions[i] for i in SHOWN if i < len(positions)]:
        pixels = data.source.image(position)
        answers = [predictor.truth(data, position), *predictor.predict(pixels)]
        drawn = [predictor.draw(pixels, answer) for answer in answers]
        plain = Image.fromarray(pixels).convert("RGB")
        plain = plain.resize((drawn[0].width, drawn[0].width * plain.height // plain.width))
        row = [plain, *drawn]
        sheet = Image.new("RGB", (sum(one.width + 8 for one in row) - 8, max(one.height for one in row)), "white")
        for number, one in enumerate(row):
            sheet.paste(one, (number * (plain.width + 8), 0))
        sheet.save(pictures / f"{stem}-{Path(data.source.name(position)).stem}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=FIELDS, default=list(FIELDS))
    parser.add_argument("--models", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs") / "segmentation")
    parser.add_argument("--pictures", type=Path, help="draw test pictures into this folder")
    parser.add_argument("--again", action="store_true", help="train what is in the results already")
    parser.add_argument("--choose", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in args.data:
        data = written(name, args.folder / name)
        known = results.setdefault(name, {"networks": [], "validation miou of choices": {}})
        if args.choose:
            choices = known["validation miou of choices"]
            for arch, (what, change) in itertools.product(args.models, CHOICES[name].items()):
                if (one := f"{arch}, {what}") not in choices or args.again:
                    fields = {**FIELDS[name], **change}
                    row = train(data, arch, 0, args.threads, args.folder / "choice", fields)
                    choices[one] = row["val"]["miou"]
                    print(f"{name}, {one}: {choices[one]:.1%}, {row['minutes']} min", flush=True)
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            continue
        known["images"] = {part: len(rows) for part, rows in data.splits.items()}
        known["without a network"] = baselines(name, data)
        for arch in args.models:
            for seed in range(args.seeds):
                output = args.folder / f"{name}-{arch}-seed{seed}"
                rows = [row for row in known["networks"] if (row["arch"], row["seed"]) != (arch, seed)]
                if args.again or len(rows) == len(known["networks"]):
                    row = train(data, arch, seed, args.threads, output, FIELDS[name])
                    row["test"] = scored(output, data, "test")
                    known["networks"] = sorted([*rows, row], key=lambda row: (row["arch"], row["seed"]))
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                    test = row["test"]
                    print(f"{name}, {arch}, seed {seed}: mIoU {test['miou']:.1%}, Dice {test['dice']:.1%}, ", end="")
                    print(f"pixels {test['pixel_accuracy']:.1%}, {row['minutes']} min", flush=True)
                if args.pictures is not None and seed == 0:
                    if output.exists():
                        draw(data, output, args.pictures, output.name)
                    else:
                        print(f"{output} is gone, so {arch} draws nothing; train it with --again")
    if not args.choose:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
