"""Pretrained weights for the backbone inside a network for segmentation or detection."""

from pathlib import Path
from typing import Any

from torch import nn

from corinth.errors import UsageError
from corinth.layers.features import Features
from corinth.registry import create_model
from corinth.weights.adapting import config_of
from corinth.weights.loading import bare, load_weights
from corinth.weights.report import LoadReport


def load_backbone(model: nn.Module, weights: str | Path) -> LoadReport:
    """Fill the backbone of `model` from a classifier's weights: a run, a file, an id such as `timm:resnet18.a1_in1k`.

    `weights` are whatever `load_weights` takes for the architecture that `model.cfg.backbone` names; the classifier's
    own head is left out, and what is around the backbone stays as it is. `UsageError` for a network without a
    backbone, `WeightsError` for weights of another architecture or for other options than the backbone has.
    """
    whole: Any = bare(model)
    cfg = config_of(whole)
    if not isinstance(getattr(whole, "backbone", None), Features):
        raise UsageError(f"{type(whole).__name__} has no backbone to fill; give weights of the whole network")
    filled = create_model(cfg.backbone, in_chans=cfg.in_chans)
    report = load_weights(filled, weights, arch=cfg.backbone)
    whole.backbone.load_state_dict(Features(filled, whole.backbone.strides).state_dict())
    return report
