"""Single public checkpoints of authors without a library: their names, and what else must be known to use them."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from corinth.data.preprocess import Preprocess
from corinth.models.convolutional.lenet import LeNet5, LeNet5Config
from corinth.models.convolutional.resnet import ResNet, ResNetConfig
from corinth.weights.keymap import KeyMap, renames
from corinth.weights.known import KnownCheckpoint

CHECKPOINTS = (
    KnownCheckpoint(
        title="ResNet-20 on CIFAR-10",
        sha256="12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
        size=1_099_231,
        arch="resnet20_cifar10",
        options={"shortcut": "A"},
        preprocess=Preprocess(size=(32, 32), channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        licence="BSD-2-Clause",
        origin="github.com/akamaster/pytorch_resnet_cifar10, commit d5489e8995, resnet20-12fca82f.th",
        measured="91.7 % on the test part of CIFAR-10 (its author)",
    ),
    KnownCheckpoint(
        title="LeNet-5 on MNIST",
        sha256="7b3591ba5a63752a7e728d7f7e511266556a2ec66844810da9f475e07019b85e",
        size=248_652,
        arch="lenet5",
        options={"activation": "relu", "pool": "max", "img_size": 32},
        # its training script stretches the 28x28 images to 32x32 and does not normalise them
        preprocess=Preprocess(size=(32, 32), channels=1, mean=(0.0,), std=(1.0,), fit="squash"),
        classes=tuple(map(str, range(10))),
        licence="use and share openly (its author's words)",
        origin="github.com/csinva/gan-vae-pretrained-pytorch, commit 9b6401e122, lenet_epoch12_acc0.991.pth",
        measured="99.1 % on the test part of MNIST (its file name)",
    ),
)


def recognised(file: Path) -> KnownCheckpoint | None:
    """The description of a public file; None if it is none of `CHECKPOINTS`."""
    likely = [checkpoint for checkpoint in CHECKPOINTS if checkpoint.size == file.stat().st_size]
    if not likely:
        return None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return next((checkpoint for checkpoint in likely if checkpoint.sha256 == digest), None)


def lenet5(_: LeNet5Config) -> KeyMap:
    """The names of csinva/gan-vae-pretrained-pytorch."""
    return KeyMap(
        renames(
            [
                ("convnet.c1", "c1"),
                ("convnet.c3", "c3"),
                ("convnet.c5", "c5"),
                ("fc.f6", "f6"),
                ("fc.f7", "head"),
            ]
        )
    )


def resnet(cfg: ResNetConfig) -> KeyMap | None:
    """The names of akamaster/pytorch_resnet_cifar10, whose batch norms have no step counters yet."""
    if cfg.stem != "cifar" or cfg.block != "basic" or cfg.shortcut != "A":
        return None
    stages = [(f"layer{i + 1}.{{}}", f"stages.{i}.{{}}") for i in range(len(cfg.depth))]
    return KeyMap(
        renames(
            [
                ("conv1", "stem.conv"),
                ("bn1", "stem.norm"),
                *((f"{theirs}.conv{j}", f"{ours}.conv{j}") for theirs, ours in stages for j in (1, 2)),
                *((f"{theirs}.bn{j}", f"{ours}.norm{j}") for theirs, ours in stages for j in (1, 2)),
                ("linear", "head"),
            ]
        ),
        counters=False,
        prefix="module.",
    )


KEY_MAPS: Mapping[type[nn.Module], Callable[[Any], KeyMap | None]] = {LeNet5: lenet5, ResNet: resnet}


def key_map(model: nn.Module) -> KeyMap | None:
    """The names of the checkpoint above that is of this architecture, or None."""
    make = KEY_MAPS.get(type(model))
    return None if make is None else make(model.cfg)
