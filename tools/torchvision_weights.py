"""Write src/corinth/weights/torchvision.json: what torchvision says of the public weights that Corinth can load.

Run it as `python tools/torchvision_weights.py` after `make parity`, which puts torchvision into .peers. Left out are
VGG's `IMAGENET1K_FEATURES`, whose classifier is not a number anywhere.
"""

import importlib
import inspect
import json
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "src" / "corinth" / "weights" / "torchvision.json"
MODELS = re.compile(
    r"alexnet|vgg\d+(_bn)?|googlenet|resnet\d+|inception_v3|densenet\d+|mobilenet_v2|mobilenet_v3_(small|large)"
    r"|efficientnet_b\d"
)


def load_torchvision() -> ModuleType:
    """torchvision's models; beside a CPU-only torch the operators that its import looks for must be declared."""
    sys.path.append(str(ROOT / ".peers"))
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        models = importlib.import_module("torchvision.models")
    models.declared_operators = library  # the declarations last as long as this does
    return models


def rows(models: ModuleType) -> list[dict[str, Any]]:
    """One row for each set of weights, the same in every run."""
    found = []
    for name in sorted(name for name in models.list_models(models) if MODELS.fullmatch(name)):
        weights = models.get_model_weights(name)
        if weights.__name__.lower() != f"{name}_weights":
            raise ValueError(f"{weights.__name__} is not named after {name}")
        facts = _facts(getattr(models, name))
        for entry in weights:
            if entry.meta.get("categories") is not None:
                found.append({**_row(name, entry, entry is weights.DEFAULT), **facts})
    return found


def _row(name: str, entry: Any, default: bool) -> dict[str, Any]:
    preset = entry.transforms()
    (crop,), (resize,) = preset.crop_size, preset.resize_size
    mean, std = list(preset.mean), list(preset.std)
    if name in ("googlenet", "inception_v3"):  # with weights these networks bring their own input to [-1, 1]
        mean, std = [0.5] * 3, [0.5] * 3
    licence = entry.meta.get("license")
    return {
        "id": f"{type(entry).__name__}.{entry.name}",
        "model": name,
        "default": default,
        "url": entry.url,
        "sha256": re.search(r"-([0-9a-f]{8,})\.pth$", entry.url)[1],
        "num_classes": len(entry.meta["categories"]),
        "top1": entry.meta["_metrics"]["ImageNet-1K"]["acc@1"],
        "licence": licence,
        "resize": resize,
        "crop": crop,
        "mean": mean,
        "std": std,
        "interpolation": preset.interpolation.value,
    }


def _facts(builder: Any) -> dict[str, Any]:
    """What the network must be built with for any of its weights."""
    aux = "aux_logits" in inspect.signature(inspect.unwrap(builder)).parameters or builder.__name__ in (
        "googlenet",
        "inception_v3",
    )
    with torch.device("meta"):
        model = builder(weights=None, **({"init_weights": False} if aux else {}))
    eps = {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)}
    if len(eps) > 1:
        raise ValueError(f"the batch norms of {builder.__name__} have several epsilons: {eps}")
    return {"norm_eps": eps.pop() if eps else None, "aux_heads": aux}


def as_text(table: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in table) + "\n]\n"


if __name__ == "__main__":
    TABLE.write_text(as_text(rows(load_torchvision())), encoding="utf-8")
