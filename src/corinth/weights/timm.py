"""timm's names."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from corinth.models.convolutional.densenet import DenseNet
from corinth.models.convolutional.efficientnet import EfficientNet, EfficientNetConfig
from corinth.models.convolutional.inception import InceptionV3
from corinth.models.convolutional.inception_v4 import InceptionV4, InceptionV4Config
from corinth.models.convolutional.mixnet import MixNet, MixNetConfig
from corinth.models.convolutional.mobilenetv1 import MobileNetV1, MobileNetV1Config
from corinth.models.convolutional.mobilenetv2 import TABLE as MOBILENET_V2_TABLE
from corinth.models.convolutional.mobilenetv2 import MobileNetV2, MobileNetV2Config
from corinth.models.convolutional.mobilenetv3 import MobileNetV3, MobileNetV3Config
from corinth.models.convolutional.resnet import ResNet
from corinth.models.convolutional.vgg import Vgg, VggConfig
from corinth.weights import torchvision
from corinth.weights.keymap import KeyMap, Rule, flatten_kernel, renames, units

INCEPTION_V4_INPUT = "timm's public weights take inputs in [-1, 1]: preprocess with mean 0.5 and std 0.5"


def vgg(_: VggConfig) -> KeyMap:
    """timm runs the fully connected layers as convolutions over the 7x7 map."""
    return KeyMap(
        (
            *renames([("features.{}", "features.{}"), ("head.fc", "head")]),
            Rule("pre_logits.fc1.weight", "fc6.weight", flatten_kernel(7)),
            Rule("pre_logits.fc1.bias", "fc6.bias"),
            Rule("pre_logits.fc2.weight", "fc7.weight", flatten_kernel(1)),
            Rule("pre_logits.fc2.bias", "fc7.bias"),
        )
    )


def inception_v4(cfg: InceptionV4Config) -> KeyMap:
    """timm numbers Inception-v4's modules through; those of Inception-ResNet-v2 have names."""
    if cfg.scales is None:
        return KeyMap(renames([*units(_inception_v4(cfg)), ("last_linear", "head")]), note=INCEPTION_V4_INPUT)
    residual = [("repeat.{}", "inception_a.{}"), ("repeat_1.{}", "inception_b.{}"), *_last_blocks(cfg)]
    ups = [(f"{theirs}.conv2d", f"{ours}.up") for theirs, ours in residual]
    return KeyMap(renames([*units(_inception_resnet_v2(cfg)), *ups, ("classif", "head")]), note=INCEPTION_V4_INPUT)


def _inception_v4(cfg: InceptionV4Config) -> list[tuple[str, str]]:
    a, b, c = cfg.depth
    branches = [("branch0", "0"), ("branch1.{}", "1.{}"), ("branch2.{}", "2.{}"), ("branch3.1", "3")]
    last_branches = [
        *(("branch0", "0"), ("branch1_0", "1.0"), ("branch1_1a", "1.1.wide"), ("branch1_1b", "1.1.tall")),
        *((f"branch2_{i}", f"2.{i}") for i in range(3)),
        *(("branch2_3a", "2.3.wide"), ("branch2_3b", "2.3.tall"), ("branch3.1", "3")),
    ]
    groups = (
        [(f"features.{6 + i}", f"inception_a.{i}", branches) for i in range(a)]
        + [(f"features.{7 + a + i}", f"inception_b.{i}", branches) for i in range(b)]
        + [(f"features.{8 + a + b + i}", f"inception_c.{i}", last_branches) for i in range(c)]
        + [(f"features.{6 + a}", "reduction_a", branches[:2])]
    )
    return [
        *((f"features.{i}", f"stem.{i}") for i in range(3)),
        ("features.3.conv", "stem.3.branches.1"),
        ("features.4.branch{}.{}", "stem.4.branches.{}.{}"),
        ("features.5.conv", "stem.5.branches.0"),
        (f"features.{7 + a + b}.branch{{}}.{{}}", "reduction_b.branches.{}.{}"),
        *((f"{theirs}.{t}", f"{ours}.branches.{o}") for theirs, ours, pairs in groups for t, o in pairs),
    ]


def _inception_resnet_v2(cfg: InceptionV4Config) -> list[tuple[str, str]]:
    stem = (("1a", 0), ("2a", 1), ("2b", 2), ("3b", 4), ("4a", 5))
    branches = [("branch0", "0"), ("branch1.{}", "1.{}"), ("branch2.{}", "2.{}"), ("branch3.1", "3")]
    groups = [
        ("mixed_5b", "stem.7", branches),
        ("repeat.{}", "inception_a.{}.mixed", branches[:3]),
        ("mixed_6a", "reduction_a", branches[:2]),
        ("repeat_1.{}", "inception_b.{}.mixed", branches[:2]),
        *((theirs, f"{ours}.mixed", branches[:2]) for theirs, ours in _last_blocks(cfg)),
    ]
    return [
        *((f"conv2d_{theirs}", f"stem.{ours}") for theirs, ours in stem),
        ("mixed_7a.branch{}.{}", "reduction_b.branches.{}.{}"),
        ("conv2d_7b", "last"),
        *((f"{theirs}.{t}", f"{ours}.branches.{o}") for theirs, ours, pairs in groups for t, o in pairs),
    ]


def _last_blocks(cfg: InceptionV4Config) -> list[tuple[str, str]]:
    """The modules C of Inception-ResNet-v2, the last of which, without activation, has a name of its own."""
    last = cfg.depth[2] - 1
    return [*((f"repeat_2.{i}", f"inception_c.{i}") for i in range(last)), ("block8", f"inception_c.{last}")]


def efficientnet(cfg: EfficientNetConfig) -> KeyMap:
    return KeyMap(_inverted_residuals(len(cfg.layers), "depthwise"))


def mobilenetv1(_: MobileNetV1Config) -> KeyMap:
    layers = [
        ("conv_stem", "bn1", "stem"),
        ("blocks.{}.{}.conv_dw", "blocks.{}.{}.bn1", "stages.{}.{}.depthwise"),
        ("blocks.{}.{}.conv_pw", "blocks.{}.{}.bn2", "stages.{}.{}.pointwise"),
    ]
    return KeyMap(
        (
            *(Rule(f"{conv}.weight", f"{ours}.conv.weight") for conv, _, ours in layers),
            *renames((norm, f"{ours}.norm") for _, norm, ours in layers),
            *renames([("classifier", "head")]),
        )
    )


def mobilenetv2(_: MobileNetV2Config) -> KeyMap:
    return KeyMap(_inverted_residuals(len(MOBILENET_V2_TABLE), "depthwise"))


def mobilenetv3(cfg: MobileNetV3Config) -> KeyMap:
    """The last convolution is one more stage in timm; the layer behind the pool is a 1x1 convolution."""
    last = f"blocks.{len(cfg.stages)}.0"
    return KeyMap(
        (
            *_inverted_residuals(len(cfg.stages), "depthwise", last=(f"{last}.conv", f"{last}.bn1")),
            Rule("conv_head.weight", "widen.weight", flatten_kernel(1)),
            Rule("conv_head.bias", "widen.bias"),
        )
    )


def mixnet(cfg: MixNetConfig) -> KeyMap:
    """1x1 convolutions in two groups are two convolutions in timm, numbered as those of a MixConv are."""
    layers, halves = (("pw", "expand"), ("pwl", "project")), ("first", "second")
    pairs = [(*layer, i, half) for layer in layers for i, half in enumerate(halves)]
    return KeyMap(
        (
            *_inverted_residuals(len(cfg.stages), "mix"),
            Rule("blocks.{}.{}.conv_dw.{}.weight", "stages.{}.{}.mix.conv.convs.{}.weight"),
            *(
                Rule(f"blocks.{{}}.{{}}.conv_{theirs}.{i}.weight", f"stages.{{}}.{{}}.{ours}.conv.{half}")
                for theirs, ours, i, half in pairs
            ),
        )
    )


def _inverted_residuals(
    stages: int, filtered: str, *, last: tuple[str, str] = ("conv_head", "bn2")
) -> tuple[Rule, ...]:
    """From MobileNet V2 on: blocks of the first stage do not expand, and are numbered otherwise."""
    plain = [("conv_dw", "bn1", filtered), ("conv_pw", "bn2", "project")]
    expanding = [("conv_pw", "bn1", "expand"), ("conv_dw", "bn2", filtered), ("conv_pwl", "bn3", "project")]
    units = [
        *(("conv_stem", "bn1", "stem"), (*last, "last")),
        *(
            (f"blocks.{i}.{{}}.{conv}", f"blocks.{i}.{{}}.{norm}", f"stages.{i}.{{}}.{ours}")
            for i in range(stages)
            for conv, norm, ours in (expanding if i else plain)
        ),
    ]
    excite = [("conv_reduce", "reduce"), ("conv_expand", "expand")]
    return (
        *(Rule(f"{conv}.weight", f"{ours}.conv.weight") for conv, _, ours in units),
        *renames((norm, f"{ours}.norm") for _, norm, ours in units),
        *renames((f"blocks.{{}}.{{}}.se.{theirs}", f"stages.{{}}.{{}}.excite.{ours}") for theirs, ours in excite),
        *renames([("classifier", "head")]),
    )


# timm's DenseNets, Inception-v3 and ResNets were named after torchvision's
KEY_MAPS: Mapping[type[nn.Module], Callable[[Any], KeyMap | None]] = {
    DenseNet: torchvision.densenet,
    EfficientNet: efficientnet,
    InceptionV3: torchvision.inception_v3,
    InceptionV4: inception_v4,
    MixNet: mixnet,
    MobileNetV1: mobilenetv1,
    MobileNetV2: mobilenetv2,
    MobileNetV3: mobilenetv3,
    ResNet: torchvision.resnet,
    Vgg: vgg,
}


def key_map(model: nn.Module) -> KeyMap | None:
    """timm's names for this model, or None where timm has no such architecture."""
    make = KEY_MAPS.get(type(model))
    return None if make is None else make(model.cfg)
