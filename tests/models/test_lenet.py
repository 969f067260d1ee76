"""LeNet-5 beside the paper: counts of section II.B, table I, equations 5 to 9; public weights of the modern form."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import corinth
from corinth.models.convolutional.lenet import TABLE, LeNet5Of1998, Rbf, Subsample, TableConv, codes, squash


def original() -> LeNet5Of1998:
    torch.manual_seed(0)
    model = corinth.create_model("lenet5_1998").eval()
    assert isinstance(model, LeNet5Of1998)
    return model


def test_parameters_layer_by_layer() -> None:
    model = original()
    counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in model.named_children()}
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164, "squash": 0, "head": 0}
    assert model.head.codes.numel() == 840


def test_connections() -> None:
    """340,908 in the paper: every unit's inputs and its bias, and the 840 of the output."""
    c3 = sum((25 * len(sources) + 1) * 10 * 10 for sources in TABLE)
    layers = (26 * 6 * 28 * 28, 5 * 6 * 14 * 14, c3, 5 * 16 * 5 * 5, 48_120, 10_164, 840)
    assert layers[:4] == (122_304, 5_880, 151_600, 2_000)  # as section II.B prints them
    assert sum(layers) == 340_908


def test_table_of_the_paper() -> None:
    rows = [[out for out, sources in enumerate(TABLE) if row in sources] for row in range(6)]
    assert rows == [  # table I, row by row
        [0, 4, 5, 6, 9, 10, 11, 12, 14, 15],
        [0, 1, 5, 6, 7, 10, 11, 12, 13, 15],
        [0, 1, 2, 6, 7, 8, 11, 13, 14, 15],
        [1, 2, 3, 6, 7, 8, 9, 12, 14, 15],
        [2, 3, 4, 7, 8, 9, 10, 12, 13, 15],
        [3, 4, 5, 8, 9, 10, 11, 13, 14, 15],
    ]


def test_c3_is_a_convolution_of_the_connected_maps() -> None:
    """The dense convolution and its plain twin, map by map."""
    torch.manual_seed(0)
    layer = TableConv()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 6, 14, 14)
    kernels = layer.weight.split([len(sources) for sources in TABLE])
    plain = [
        F.conv2d(x[:, list(sources)], kernel[None], layer.bias[out : out + 1])
        for out, (sources, kernel) in enumerate(zip(TABLE, kernels))
    ]
    torch.testing.assert_close(layer(x), torch.cat(plain, dim=1))


def test_subsampling_sums_four_units() -> None:
    layer = Subsample(2)
    torch.nn.init.constant_(layer.coefficient, 0.5)
    torch.nn.init.constant_(layer.bias, 1.0)
    x = torch.arange(16.0).view(1, 1, 4, 4).repeat(1, 2, 1, 1)
    expected = torch.tensor([[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]]) * 0.5 + 1
    torch.testing.assert_close(layer(x), expected.expand(1, 2, 2, 2))


def test_squashing() -> None:
    """Appendix A: f(1) = 1 and f(-1) = -1, saturating at 1.7159."""
    torch.testing.assert_close(
        squash(torch.tensor([-1.0, 0.0, 1.0])), torch.tensor([-1.0, 0.0, 1.0]), atol=1e-4, rtol=0
    )
    assert squash(torch.tensor(100.0)) == pytest.approx(1.7159)


def test_cross_entropy_is_equation_9() -> None:
    torch.manual_seed(0)
    x, targets = torch.randn(5, 84, dtype=torch.float64), torch.randint(10, (5,))
    head = Rbf(10).double()
    distances = (x[:, None] - head.codes).square().sum(dim=2)  # equation 7
    torch.testing.assert_close(head(x), -distances)
    equation_9 = distances.gather(1, targets[:, None])[:, 0] + (-distances).exp().sum(dim=1).log()
    torch.testing.assert_close(F.cross_entropy(head(x), targets), equation_9.mean())


def test_codes() -> None:
    digits = torch.tensor(codes(10))
    assert digits.shape == (10, 84)
    assert set(digits.unique().tolist()) == {-1.0, 1.0}
    apart = (digits[:, None] != digits).sum(dim=2) + 84 * torch.eye(10)
    assert apart.min() >= 5  # the digits look different
    many = torch.tensor(codes(100))
    assert many.shape == (100, 84)
    assert torch.equal(many, torch.tensor(codes(100)))
    assert len(many.unique(dim=0)) == 100


def test_initialisation_is_the_papers() -> None:
    """Appendix A: within +-2.4 / fan-in, and filling that range."""
    model = original()
    for layer, fan in ((model.c1, 25), (model.s2, 4), (model.c5, 400), (model.f6, 120)):
        for parameter in layer.parameters():
            assert parameter.abs().max() <= 2.4 / fan
    assert model.c5.weight.abs().max() > 0.99 * 2.4 / 400
    assert model.c3.weight[:3].abs().max() > 2.4 / 150  # three maps of 25: a wider range than the last, with six
    assert model.c3.weight[-6:].abs().max() <= 2.4 / 150


def test_sizes_are_multiples_of_four() -> None:
    for name in ("lenet5", "lenet5_1998"):
        assert corinth.create_model(name, img_size=28)(torch.randn(2, 1, 28, 28)).shape == (2, 10)
        with pytest.raises(ValueError, match=r"img_size 30 does not fit .*multiple of 4.*the nearest is"):
            corinth.create_model(name, img_size=30)


@pytest.mark.parametrize(("activation", "pool"), [("tanh", "avg"), ("relu", "max"), ("sigmoid", "avg")])
def test_the_modern_form_takes_activation_and_pool(activation: str, pool: str) -> None:
    torch.manual_seed(0)
    model = corinth.create_model("lenet5", activation=activation, pool=pool).eval()
    act, pools = getattr(torch, activation), {"max": F.max_pool2d, "avg": F.avg_pool2d}
    x = torch.randn(2, 1, 32, 32)
    s2 = pools[pool](act(model.c1(x)), 2)
    s4 = pools[pool](act(model.c3(s2)), 2)
    f6 = act(model.f6(act(model.c5(s4)).flatten(1)))
    assert torch.equal(model(x), model.head(f6))


@pytest.mark.data
def test_public_weights_read_the_mnist_test_set(corinth_data: Path) -> None:
    """The defaults are the form of the public checkpoint: 99.07 % with its own preprocessing, a plain resize to 32."""
    raw = torch.load(corinth_data / "weights/mnist_lenet/lenet_epoch12_acc0.991.pth", weights_only=True)
    keys = {"convnet.c1": "c1", "convnet.c3": "c3", "convnet.c5": "c5", "fc.f6": "f6", "fc.f7": "head"}
    model = corinth.create_model("lenet5").eval()
    model.load_state_dict({f"{ours}.{kind}": raw[f"{theirs}.{kind}"] for theirs, ours in keys.items()
                           for kind in ("weight", "bias")})  # fmt: skip
    folder = corinth_data / "mnist_t10k"
    pixels = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    images = torch.from_numpy(pixels.copy()).view(-1, 1, 28, 28)
    images = F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True).float() / 255
    with torch.inference_mode():
        right = model(images).argmax(dim=1) == torch.from_numpy(labels.astype(np.int64))
    assert right.float().mean() >= 0.990
