"""What is particular to DenseNet: table 1's maps, dense connections, memory-efficient training, older files' names."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth import create_model, dump_weights, load_weights
from corinth.data.preprocess import Preprocess
from corinth.errors import UsageError
from corinth.models.convolutional.densenet import DenseNet, DenseNetConfig
from corinth.weights import save_model

SMALL = DenseNetConfig(depth=(2, 3, 2), growth_rate=4, num_classes=5)


def small(**options: object) -> DenseNet:
    torch.manual_seed(0)
    return DenseNet(DenseNetConfig(**{"depth": SMALL.depth, "growth_rate": 4, "num_classes": 5, **options}))


def step(model: nn.Module, x: Tensor) -> Tensor:
    """One forward and backward pass; the logits."""
    logits = model(x)
    F.cross_entropy(logits, torch.arange(len(x)) % 5).backward()
    return logits


@pytest.mark.parametrize(
    ("name", "layers", "channels"),
    [  # table 1: 7x7, then two convolutions a layer, one a transition, the classifier
        ("densenet121", 121, (256, 512, 1024, 1024)),
        ("densenet161", 161, (384, 768, 2112, 2208)),
        ("densenet169", 169, (256, 512, 1280, 1664)),
        ("densenet201", 201, (256, 512, 1792, 1920)),
    ],
)
def test_layers_and_maps_of_table_1(name: str, layers: int, channels: tuple[int, ...]) -> None:
    sizes = []
    with torch.device("meta"):
        model = create_model(name).eval()
        for module in (*model.blocks, *model.transitions):
            module.register_forward_hook(lambda _m, _x, out: sizes.append(tuple(out.shape[1:])))
        model(torch.empty(1, 3, 224, 224))
    assert len([m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]) == layers
    a, b, c, d = channels
    assert sizes == [
        (a, 56, 56),
        (a // 2, 28, 28),
        (b, 28, 28),
        (b // 2, 14, 14),
        (c, 14, 14),
        (c // 2, 7, 7),
        (d, 7, 7),
    ]
    assert model.cfg.num_features == d == model.head.in_features


def test_a_layer_sees_all_maps_before_it() -> None:
    block = small().eval().blocks[1]
    x = torch.randn(2, SMALL.stem_width + 8, 6, 6)[:, : block.layers[0].norm1.num_features]
    maps = [x]
    for layer in block.layers:  # equation 2, literally
        y = layer.conv1(F.relu(layer.norm1(torch.cat(maps, 1))))
        maps.append(layer.conv2(F.relu(layer.norm2(y))))
    torch.testing.assert_close(block(x), torch.cat(maps, 1))


@pytest.mark.parametrize("drop_rate", [0.0, 0.2])
@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_efficient_training_is_the_same_training(drop_rate: float, channels_last: bool) -> None:
    x = torch.randn(6, 3, 32, 32)
    models = [small(drop_rate=drop_rate, memory_efficient=switch) for switch in (False, True)]
    assert [name for name, _ in models[0].named_parameters()] == [name for name, _ in models[1].named_parameters()]
    if channels_last:
        models = [model.to(memory_format=torch.channels_last) for model in models]
        x = x.to(memory_format=torch.channels_last)
    for _ in range(2):
        seen = []
        for model in models:
            torch.manual_seed(1)
            seen.append(step(model.train(), x))
        assert torch.equal(seen[0], seen[1])
    for (name, a), b in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), f"gradient of {name}"
    for (name, a), b in zip(models[0].named_buffers(), models[1].buffers(), strict=True):
        assert torch.equal(a, b), f"{name} was counted more than once"
    with torch.no_grad():
        assert torch.equal(models[0].eval()(x), models[1].eval()(x))
    assert torch.equal(models[0](x), models[1](x)), "in evaluation, with gradients"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch.compile's own imports
def test_memory_efficient_training_compiles() -> None:
    x = torch.randn(4, 3, 32, 32)
    plain, efficient = small(depth=(2, 2)), small(depth=(2, 2), memory_efficient=True)
    step(plain, x)
    step(torch.compile(efficient), x)
    for (name, a), b in zip(plain.named_parameters(), efficient.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    for a, b in zip(plain.buffers(), efficient.buffers(), strict=True):
        torch.testing.assert_close(b, a)


def test_memory_efficient_training_keeps_less() -> None:
    """Linear in the depth where the plain form is quadratic: bytes kept for the backward pass.

    The layers' own maps, which both keep, are not counted where recomputation holds them.
    """

    def kept(depth: int, memory_efficient: bool) -> int:
        model = small(depth=(depth,), memory_efficient=memory_efficient)
        storages = {}

        def keep(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor  # alive, so that an address names one storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(torch.randn(2, 3, 32, 32))
        weights = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
        return sum(t.untyped_storage().nbytes() for pointer, t in storages.items() if pointer not in weights)

    plain, efficient = ([kept(depth, switch) for depth in (8, 16, 24)] for switch in (False, True))
    assert efficient[2] < plain[2] / 2
    bends = [sizes[2] - 2 * sizes[1] + sizes[0] for sizes in (plain, efficient)]  # second differences
    assert bends[1] < bends[0] / 10


def test_memory_efficient_weights_are_plain_weights(tmp_path) -> None:
    torch.manual_seed(0)
    model = create_model("densenet121", num_classes=3, memory_efficient=True)
    preprocess = Preprocess(size=(64, 64), channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    save_model(tmp_path, model, arch="densenet121", preprocess=preprocess, classes=("a", "b", "c"))
    report = load_weights(create_model("densenet121", num_classes=3), tmp_path, arch="densenet121")
    assert report.exact


def test_dropout_follows_every_convolution_but_the_first() -> None:
    model = small(drop_rate=0.25)
    calls = []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            assert module.p == 0.25
            module.register_forward_hook(lambda _m, x, _out: calls.append(x[0].shape[1]))
    model.train()(torch.randn(2, 3, 32, 32))
    convolutions = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert sorted(calls) == sorted(convolutions[1:])


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_names_of_the_public_files(source) -> None:
    """They say `norm.1` and `conv.2` within a layer, and have no step counters."""
    model = create_model("densenet121", num_classes=3)
    new = dump_weights(model, source=source)
    old = {}
    for name, tensor in new.items():
        if "denselayer" in name:
            name = name.replace(".norm", ".norm.").replace(".conv", ".conv.")
        if not name.endswith("num_batches_tracked"):
            old[name] = tensor
    assert "features.denseblock4.denselayer16.conv.2.weight" in old
    copy = create_model("densenet121", num_classes=3)
    report = load_weights(copy, old, source=source)
    assert not report.unexpected
    assert "step counters" in report.notes[-1]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), copy.parameters(), strict=True))


def test_initialisation_is_he() -> None:
    torch.manual_seed(0)
    model = create_model("densenet121")
    weight = model.blocks[3].layers[0].conv2.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert all(bool((m.weight == 1).all()) for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert not model.head.bias.any()


@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("depth", (), r"depth \(\) has no dense block"),
        ("depth", (6, 0), "depth 0 is not a whole number of at least 1"),
        ("depth", 6, "depth 6 is no list of values"),
        ("growth_rate", 0, "growth_rate 0 is not a whole number of at least 1"),
        ("drop_rate", 1.0, "drop_rate 1.0"),
        ("memory_efficient", "no", "memory_efficient 'no' is neither true nor false"),
    ],
)
def test_bad_options(option: str, value: object, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        DenseNetConfig(**{"depth": (2, 2), option: value})
    with pytest.raises(UsageError, match=f"densenet121: .*{match}"):
        create_model("densenet121", **{option: value})


def test_the_smallest_image() -> None:
    model = create_model("densenet121", num_classes=2).eval()
    assert model.cfg.min_size == 29
    with torch.inference_mode():
        assert model.forward_features(torch.randn(1, 3, 29, 60)).shape == (1, 1024, 1, 1)
    with pytest.raises(UsageError, match="images of 28x60 pixels are too small for this network; it needs 29x29"):
        model(torch.randn(1, 3, 28, 60))
