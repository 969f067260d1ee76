"""AlexNet beside the papers: map sizes, response normalisation, groups, initialisation, dropout."""

import pytest
import torch
from torch import nn

import corinth
from corinth.models.convolutional.alexnet import ONES, response_norm


def map_sizes(name: str, size: int) -> list[int]:
    """Pixels per side behind each convolution."""
    sizes = []
    with torch.device("meta"):
        model = corinth.create_model(name).eval()
        for layer in (model.conv1, model.conv2, model.conv3, model.conv4, model.conv5):
            layer.register_forward_hook(lambda _layer, _inputs, output: sizes.append(output.shape[-1]))
        assert model.forward_features(torch.empty(1, 3, size, size)).shape == (1, 256, 6, 6)
    return sizes


@pytest.mark.parametrize(("name", "size"), [("alexnet", 224), ("alexnet_2012", 227)])
def test_map_sizes_of_the_paper(name: str, size: int) -> None:
    assert map_sizes(name, size) == [55, 27, 13, 13, 13]


def test_parameters_of_2012_layer_by_layer() -> None:
    with torch.device("meta"):
        model = corinth.create_model("alexnet_2012")
    counts = [sum(p.numel() for p in layer.parameters()) for layer in model.children()]
    conv = [96 * 364, 256 * (48 * 25 + 1), 384 * (256 * 9 + 1), 384 * (192 * 9 + 1), 256 * (192 * 9 + 1)]
    fc = [4096 * 9217, 4096 * 4097, 1000 * 4097]
    assert [count for count in counts if count] == conv + fc


def test_response_normalisation_is_the_papers() -> None:
    """Section 3.3, written out: a sum over 5 neighbouring channels, k=2, alpha=1e-4, beta=0.75."""
    torch.manual_seed(0)
    a = 100 * torch.randn(2, 9, 3, 3)  # large enough for the sum to matter beside k
    b = torch.empty_like(a)
    for i in range(9):
        squares = a[:, max(0, i - 2) : i + 3].square().sum(dim=1)
        b[:, i] = a[:, i] / (2 + 1e-4 * squares) ** 0.75
    torch.testing.assert_close(response_norm()(a), b)


def test_only_2012_normalises_and_groups() -> None:
    with torch.device("meta"):
        old, new = corinth.create_model("alexnet_2012"), corinth.create_model("alexnet")
    assert isinstance(old.norm, nn.LocalResponseNorm)
    assert isinstance(new.norm, nn.Identity)
    for model, groups in ((old, [1, 2, 1, 2, 2]), (new, [1] * 5)):
        assert [conv.groups for conv in model.children() if isinstance(conv, nn.Conv2d)] == groups


@pytest.mark.parametrize("name", ["alexnet", "alexnet_2012"])
def test_initialisation_is_the_papers(name: str) -> None:
    """Section 5: N(0, 0.01²); biases 1 in conv2, conv4, conv5 and the hidden fully connected layers, else 0."""
    torch.manual_seed(0)
    model = corinth.create_model(name, fc_dim=64)
    for index, conv in enumerate((model.conv1, model.conv2, model.conv3, model.conv4, model.conv5)):
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.03)
        assert (conv.bias == float(index in ONES)).all()
    assert (model.fc6.bias == 1).all()
    assert (model.fc7.bias == 1).all()
    assert (model.head.bias == 0).all()


@pytest.mark.parametrize(("drop_at", "inputs_of_fc6"), [("input", True), ("output", False)])
def test_where_dropout_sits(drop_at: str, inputs_of_fc6: bool) -> None:
    model = corinth.create_model("alexnet", fc_dim=32, drop_at=drop_at, drop_rate=0.9, num_classes=0).train()
    seen = {}
    model.fc6.register_forward_hook(lambda _layer, inputs, _output: seen.update(fc6=inputs[0]))
    with torch.no_grad():
        features = model(torch.rand(1, 3, 63, 63))
    assert bool((seen["fc6"] == 0).float().mean() > 0.5) == inputs_of_fc6
    assert bool((features == 0).float().mean() > 0.5) != inputs_of_fc6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": (1, 2)}, r"groups \(1, 2\) needs 5 entries, one a convolution"),
        ({"groups": (2, 1, 1, 1, 1)}, "groups 2 of conv1 does not divide 3 or 64 channels"),
        ({"channels": (64, 0, 384, 256, 256)}, "channels 0 is not a whole number of at least 1"),
        ({"drop_at": "middle"}, "drop_at 'middle' is none of input, output"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corinth.create_model("alexnet", **options)


def test_the_published_recipes_cut_the_rate_as_their_papers_do() -> None:
    """2012: by ten; 2014: by 250^(-1/3), so that the three cuts together divide it by 250."""
    assert corinth.card("alexnet_2012").published_recipe["step_gamma"] == 0.1
    gamma = corinth.card("alexnet").published_recipe["step_gamma"]
    assert gamma**3 == pytest.approx(1 / 250)
