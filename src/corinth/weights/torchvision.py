"""torchvision's names."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import nn

from corinth.models.convolutional.alexnet import AlexNet, AlexNetConfig
from corinth.models.convolutional.densenet import DenseNet, DenseNetConfig
from corinth.models.convolutional.efficientnet import EfficientNet, EfficientNetConfig
from corinth.models.convolutional.fcos import FCOS, STRIDES, FCOSConfig
from corinth.models.convolutional.googlenet import GoogLeNet, GoogLeNetConfig
from corinth.models.convolutional.inception import InceptionV3, InceptionV3Config
from corinth.models.convolutional.mobilenetv2 import TABLE as MOBILENET_V2_TABLE
from corinth.models.convolutional.mobilenetv2 import MobileNetV2, MobileNetV2Config
from corinth.models.convolutional.mobilenetv3 import MobileNetV3, MobileNetV3Config
from corinth.models.convolutional.resnet import ResNet, ResNetConfig
from corinth.models.convolutional.vgg import Vgg, VggConfig
from corinth.registry import entry
from corinth.weights.keymap import KeyMap, Rule, renames, units

EFFICIENTNET_EPS = (
    "torchvision's public weights of efficientnet_b5 to b7 want a batch-norm epsilon of 1e-3: create the model with "
    "norm_eps=1e-3"
)
GOOGLENET_INPUT = (
    "torchvision's public googlenet weights rescale their input to [-1, 1] (transform_input): "
    "preprocess with mean 0.5 and std 0.5"
)
INCEPTION_V3_INPUT = (
    "public inception_v3 weights (torchvision's with transform_input, timm's but for gluon_in1k) take inputs in "
    "[-1, 1]: preprocess with mean 0.5 and std 0.5"
)
MOBILENET_V3_EPS = (
    "torchvision's public mobilenet_v3 weights want a batch-norm epsilon of 1e-3: create the model with norm_eps=1e-3"
)
INCEPTION_V3_STEM = (("1a_3x3", 0), ("2a_3x3", 1), ("2b_3x3", 2), ("3b_1x1", 4), ("4a_3x3", 5))


def alexnet(cfg: AlexNetConfig) -> KeyMap | None:
    """The single tower of 2014 only."""
    if cfg.response_norm or set(cfg.groups) != {1} or cfg.drop_at != "input":
        return None
    convs = zip((0, 3, 6, 8, 10), range(1, 6))
    return KeyMap(
        renames(
            [
                *((f"features.{theirs}", f"conv{ours}") for theirs, ours in convs),
                ("classifier.1", "fc6"),
                ("classifier.4", "fc7"),
                ("classifier.6", "head"),
            ]
        )
    )


def vgg(_: VggConfig) -> KeyMap:
    return KeyMap(
        renames(
            [
                ("features.{}", "features.{}"),
                ("classifier.0", "fc6"),
                ("classifier.3", "fc7"),
                ("classifier.6", "head"),
            ]
        )
    )


def googlenet(cfg: GoogLeNetConfig) -> KeyMap | None:
    """The form with batch norm only; the paper's has no public torchvision weights."""
    if not cfg.batch_norm or (cfg.five_kernel, cfg.last_pool) != (3, 2):
        return None
    parts = ("conv", "conv"), ("bn", "norm")  # of each convolution
    layers = [
        ("conv1", "conv1"),
        ("conv2", "conv2_reduce"),
        ("conv3", "conv2"),
        ("inception{}.branch1", "inception{}.one"),
        ("inception{}.branch2.0", "inception{}.three_reduce"),
        ("inception{}.branch2.1", "inception{}.three"),
        ("inception{}.branch3.0", "inception{}.five_reduce"),
        ("inception{}.branch3.1", "inception{}.five"),
        ("inception{}.branch4.1", "inception{}.pool_proj"),
        ("aux1.conv", "aux_heads.0.conv"),
        ("aux2.conv", "aux_heads.1.conv"),
    ]
    return KeyMap(
        renames(
            [
                *((f"{theirs}.{their}", f"{ours}.{our}") for theirs, ours in layers for their, our in parts),
                *((f"aux{i + 1}.fc1", f"aux_heads.{i}.fc") for i in (0, 1)),
                *((f"aux{i + 1}.fc2", f"aux_heads.{i}.head") for i in (0, 1)),
                ("fc", "head"),
            ]
        ),
        optional=("aux_heads.",),
        note=GOOGLENET_INPUT,
    )


def inception_v3(_: InceptionV3Config) -> KeyMap:
    """timm's names too."""
    forks = (("a", "wide"), ("b", "tall"))
    module35 = (("1x1", "0"), *_steps("5x5", 1, 2), *_steps("3x3dbl", 2, 3), ("_pool", "3"))
    reduction17 = (("3x3", "0"), *_steps("3x3dbl", 1, 3))
    module17 = (("1x1", "0"), *_steps("7x7", 1, 3), *_steps("7x7dbl", 2, 5), ("_pool", "3"))
    reduction8 = (*_steps("3x3", 0, 2), *_steps("7x7x3", 1, 4))
    module8 = (
        ("1x1", "0"),
        *_steps("3x3", 1, 1),
        *((f"3x3_2{theirs}", f"1.1.{ours}") for theirs, ours in forks),
        *_steps("3x3dbl", 2, 2),
        *((f"3x3dbl_3{theirs}", f"2.2.{ours}") for theirs, ours in forks),
        ("_pool", "3"),
    )
    stages = {5: {"b": module35, "c": module35, "d": module35}, 6: {"a": reduction17}, 7: {"a": reduction8}}
    stages[6] |= dict.fromkeys("bcde", module17)
    stages[7] |= dict.fromkeys("bc", module8)
    return KeyMap(
        renames(
            [
                *units((f"Conv2d_{theirs}", f"stem.{i}") for theirs, i in INCEPTION_V3_STEM),
                *units(
                    (f"Mixed_{stage}{letter}.branch{theirs}", f"mixed{stage}.{i}.branches.{ours}")
                    for stage, modules in stages.items()
                    for i, (letter, branches) in enumerate(modules.items())
                    for theirs, ours in branches
                ),
                *units([("AuxLogits.conv0", "aux_heads.0.reduce"), ("AuxLogits.conv1", "aux_heads.0.conv")]),
                ("AuxLogits.fc", "aux_heads.0.head"),
                ("fc", "head"),
            ]
        ),
        optional=("aux_heads.",),
        note=INCEPTION_V3_INPUT,
    )


def _steps(branch: str, ours: int, count: int) -> list[tuple[str, str]]:
    """The convolutions 1 to `count` of a branch, which are 0 to `count` - 1 of ours."""
    return [(f"{branch}_{i + 1}", f"{ours}.{i}") for i in range(count)]


def resnet(cfg: ResNetConfig) -> KeyMap | None:
    """The ImageNet form with projections; torchvision has neither CIFAR networks nor the stride of the paper."""
    if cfg.stem != "imagenet" or cfg.shortcut != "B" or (cfg.block == "bottleneck" and cfg.stride_in != "3x3"):
        return None
    stages = [(f"layer{i + 1}.{{}}", f"stages.{i}.{{}}") for i in range(len(cfg.depth))]
    return KeyMap(
        renames(
            [
                ("conv1", "stem.conv"),
                ("bn1", "stem.norm"),
                *((f"{theirs}.conv{j}", f"{ours}.conv{j}") for theirs, ours in stages for j in (1, 2, 3)),
                *((f"{theirs}.bn{j}", f"{ours}.norm{j}") for theirs, ours in stages for j in (1, 2, 3)),
                *((f"{theirs}.downsample.0", f"{ours}.shortcut.conv") for theirs, ours in stages),
                *((f"{theirs}.downsample.1", f"{ours}.shortcut.norm") for theirs, ours in stages),
                ("fc", "head"),
            ]
        )
    )


def densenet(cfg: DenseNetConfig) -> KeyMap:
    """The public files are older than the library's own names, which have no dot within `norm1`."""
    layers = [
        (f"features.denseblock{i + 1}.denselayer{j + 1}", f"blocks.{i}.layers.{j}")
        for i, depth in enumerate(cfg.depth)
        for j in range(depth)
    ]
    parts = [(part, number) for part in ("norm", "conv") for number in (1, 2)]
    between = [(f"features.transition{i + 1}", f"transitions.{i}") for i in range(len(cfg.depth) - 1)]
    return KeyMap(
        renames(
            [
                ("features.conv0", "stem_conv"),
                ("features.norm0", "stem_norm"),
                *((f"{theirs}.{part}{n}", f"{ours}.{part}{n}") for theirs, ours in layers for part, n in parts),
                *((f"{theirs}.{part}", f"{ours}.{part}") for theirs, ours in between for part in ("norm", "conv")),
                (f"features.norm{len(cfg.depth) + 1}", "norm"),
                ("classifier", "head"),
            ]
        ),
        older=renames((f"{theirs}.{part}.{n}", f"{ours}.{part}{n}") for theirs, ours in layers for part, n in parts),
    )


def efficientnet(cfg: EfficientNetConfig) -> KeyMap | None:
    """torchvision pads symmetrically, and numbers the parts of a block from its expansion on, where it has one."""
    if cfg.same_padding:
        return None
    names = ("expand", "depthwise", "excite", "project")
    parts = [("features.0", "stem"), (f"features.{len(cfg.layers) + 1}", "last")]
    for i in range(len(cfg.layers)):
        for number, part in enumerate(names if i else names[1:]):
            parts.append((f"features.{i + 1}.{{}}.block.{number}", f"stages.{i}.{{}}.{part}"))
    return KeyMap(
        renames([*_mobile(parts), ("classifier.1", "head")]),
        note=EFFICIENTNET_EPS if cfg.depth >= 2.2 and cfg.norm_eps != 1e-3 else None,
    )


def mobilenetv2(cfg: MobileNetV2Config) -> KeyMap | None:
    """torchvision numbers the blocks through, and the parts of a block from its expansion on, where it has one."""
    if cfg.same_padding:
        return None
    places = [(i, j) for i, (_, _, layers, _) in enumerate(MOBILENET_V2_TABLE) for j in range(layers)]
    layers = [("features.0.0", "features.0.1", "stem")]
    for number, (i, j) in enumerate(places, start=1):
        theirs, ours = f"features.{number}.conv", f"stages.{i}.{j}"
        expands = 1 if i else 0
        if expands:
            layers.append((f"{theirs}.0.0", f"{theirs}.0.1", f"{ours}.expand"))
        layers.append((f"{theirs}.{expands}.0", f"{theirs}.{expands}.1", f"{ours}.depthwise"))
        layers.append((f"{theirs}.{expands + 1}", f"{theirs}.{expands + 2}", f"{ours}.project"))
    last = f"features.{len(places) + 1}"
    layers.append((f"{last}.0", f"{last}.1", "last"))
    return KeyMap(
        renames(
            [
                *((conv, f"{ours}.conv") for conv, _, ours in layers),
                *((norm, f"{ours}.norm") for _, norm, ours in layers),
                ("classifier.1", "head"),
            ]
        )
    )


def mobilenetv3(cfg: MobileNetV3Config) -> KeyMap | None:
    """As of V2; at other widths torchvision rounds otherwise."""
    if cfg.same_padding or cfg.width != 1:
        return None
    rows = [(i, j, row) for i, stage in enumerate(cfg.stages) for j, row in enumerate(stage)]
    parts = [("features.0", "stem"), (f"features.{len(rows) + 1}", "last")]
    for number, (i, j, row) in enumerate(rows, start=1):
        names = [*(["expand"] if number > 1 else []), "depthwise", *(["excite"] if row.excite else []), "project"]
        for place, part in enumerate(names):
            parts.append((f"features.{number}.block.{place}", f"stages.{i}.{j}.{part}"))
    return KeyMap(
        renames([*_mobile(parts), ("classifier.0", "widen"), ("classifier.3", "head")]),
        note=MOBILENET_V3_EPS if cfg.norm_eps != 1e-3 else None,
    )


def _mobile(parts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Names within the parts of a mobile network: of convolution and norm, or of squeeze-and-excitation."""
    for theirs, ours in parts:
        inner = (("fc1", "reduce"), ("fc2", "expand")) if ours.endswith(".excite") else (("0", "conv"), ("1", "norm"))
        yield from ((f"{theirs}.{its}", f"{ours}.{own}") for its, own in inner)


def fcos(cfg: FCOSConfig) -> KeyMap | None:
    """On a ResNet, with rectified distances and without the scalars s_l; its public weights have frozen batch norms.

    Older files name the pyramid's convolutions without the layer in which they are now.
    """
    config = entry(cfg.backbone).config
    body = resnet(config) if isinstance(config, ResNetConfig) else None
    if body is None or cfg.distance != "relu":
        return None
    pyramid = (("inner_blocks", "laterals"), ("layer_blocks", "smooths"))
    return KeyMap(
        (
            *(Rule(f"backbone.body.{rule.theirs}", f"backbone.body.{rule.ours}", rule.op) for rule in body.rules),
            *renames(
                [
                    *((f"backbone.fpn.{theirs}.{{}}.0", f"fpn.{ours}.{{}}") for theirs, ours in pyramid),
                    *((f"backbone.fpn.extra_blocks.p{6 + i}", f"fpn.extras.{i}") for i in range(len(STRIDES) - 3)),
                    ("head.classification_head.conv.{}", "head.class_tower.{}"),
                    ("head.classification_head.cls_logits", "head.classify"),
                    ("head.regression_head.conv.{}", "head.box_tower.{}"),
                    ("head.regression_head.bbox_reg", "head.regress"),
                    ("head.regression_head.bbox_ctrness", "head.centre"),
                ]
            ),
        ),
        older=renames((f"backbone.fpn.{theirs}.{{}}", f"fpn.{ours}.{{}}") for theirs, ours in pyramid),
        neutral=(("head.scales", 1.0),),
    )


KEY_MAPS: Mapping[type[nn.Module], Callable[[Any], KeyMap | None]] = {
    AlexNet: alexnet,
    DenseNet: densenet,
    EfficientNet: efficientnet,
    FCOS: fcos,
    GoogLeNet: googlenet,
    InceptionV3: inception_v3,
    MobileNetV2: mobilenetv2,
    MobileNetV3: mobilenetv3,
    ResNet: resnet,
    Vgg: vgg,
}


def key_map(model: nn.Module) -> KeyMap | None:
    """torchvision's names for this model, or None where torchvision has no such architecture."""
    make = KEY_MAPS.get(type(model))
    return None if make is None else make(model.cfg)
