"""U-Net and Semantic FPN: what the contract does not ask of every architecture."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import corinth
from corinth.data import Preprocess
from corinth.errors import UsageError, WeightsError
from corinth.registry import configure
from corinth.weights import load_model, save_model


def test_the_widths_of_figure_1() -> None:
    model: Any = corinth.create_model("unet")
    assert configure("unet").widths == (64, 128, 256, 512, 1024)
    assert [level[2].out_channels for level in model.down] == [64, 128, 256, 512, 1024]
    assert [(up.in_channels, up.out_channels) for up in model.up] == [(1024, 512), (512, 256), (256, 128), (128, 64)]
    assert [merge[0].in_channels for merge in model.merge] == [1024, 512, 256, 128]
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 19  # and 4 up-convolutions: 23


def test_dropout_stands_at_the_end_of_the_contracting_path() -> None:
    model: Any = corinth.create_model("unet", width=2, depth=3).train()
    seen: list[int] = []
    model.dropout.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    model(torch.rand(1, 1, 16, 16))
    assert seen == [8, 16]


@pytest.mark.parametrize("size", [(40, 32), (32, 40)])
def test_a_side_that_cannot_be_halved_is_refused(size: tuple[int, int]) -> None:
    model = corinth.create_model("unet", width=2)
    with pytest.raises(UsageError) as raised:
        model(torch.rand(1, 1, *size))
    said = f"images of {size[0]}x{size[1]} pixels do not fit a U-Net of depth 4; both sides must be multiples of 16"
    assert str(raised.value) == said


def test_semantic_fpn_takes_sides_that_its_stride_does_not_divide() -> None:
    model = corinth.create_model("semantic_fpn_resnet18", num_classes=3, channels=64).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 45, 67)).shape == (1, 3, 45, 67)


@pytest.mark.parametrize("backbone", ["densenet121", "vgg11_bn", "mobilenetv3_small_050", "mixnet_s", "nin_imagenet"])
def test_any_backbone(backbone: str) -> None:
    with torch.device("meta"):
        model: Any = corinth.create_model("semantic_fpn_resnet18", backbone=backbone, num_classes=5)
        assert model(torch.empty(2, 3, 96, 64)).shape == (2, 5, 96, 64)
        assert model.cfg.min_size >= configure(backbone).min_size


def test_what_no_backbone_can_be() -> None:
    with pytest.raises(UsageError, match="no architecture is called 'resnet19'; did you mean resnet1"):
        corinth.create_model("semantic_fpn_resnet18", backbone="resnet19")
    with pytest.raises(UsageError, match="ResNet has maps of strides 1, 2, 4"):
        corinth.create_model("semantic_fpn_resnet18", backbone="resnet20_cifar10")
    with pytest.raises(UsageError, match="unet is no backbone: features can be had of what classifies images"):
        corinth.create_model("semantic_fpn_resnet18", backbone="unet")
    with pytest.raises(UsageError, match="channels 80 is not a multiple of 32, the groups of its norms"):
        corinth.create_model("semantic_fpn_resnet18", channels=80)


def test_pretrained_weights_for_the_backbone_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = corinth.create_model("resnet18", num_classes=7)
    save_file(classifier.state_dict(), tmp_path / "resnet18.safetensors")
    model: Any = corinth.create_model("semantic_fpn_resnet18", channels=64, num_classes=3)
    around = {key: value.clone() for key, value in model.state_dict().items() if not key.startswith("backbone.")}
    report = corinth.load_backbone(model, tmp_path / "resnet18.safetensors")
    assert report.missing
    theirs = classifier.state_dict()
    own = model.backbone.body.state_dict()
    assert len(own) == len(theirs) - 2
    assert all(torch.equal(value, theirs[key]) for key, value in own.items())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in around.items())
    grey: Any = corinth.create_model("semantic_fpn_resnet18", channels=64, in_chans=1)
    corinth.load_backbone(grey, tmp_path / "resnet18.safetensors")
    torch.testing.assert_close(grey.backbone.body.stem.conv.weight, theirs["stem.conv.weight"].sum(1, keepdim=True))


def test_backbones_that_cannot_be_filled(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Unet has no backbone to fill; give weights of the whole network"):
        corinth.load_backbone(corinth.create_model("unet", width=1), tmp_path)
    save_file(corinth.create_model("resnet20_cifar10").state_dict(), tmp_path / "other.safetensors")
    model = corinth.create_model("semantic_fpn_resnet18", channels=64)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError):
        corinth.load_backbone(model, tmp_path / "other.safetensors")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_saved_network_comes_back(tmp_path: Path) -> None:
    model = corinth.create_model("semantic_fpn_mobilenetv2_100", channels=64, num_classes=2).eval()
    plain = Preprocess(size=(64, 32), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, fit="pad")
    save_model(
        tmp_path,
        model,
        arch="semantic_fpn_mobilenetv2_100",
        preprocess=plain,
        classes=("a", "b"),
        task="semantic-segmentation",
    )
    again, config = load_model(tmp_path)
    assert config.task == "semantic-segmentation"
    x = torch.rand(1, 3, 64, 32)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
