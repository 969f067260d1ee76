"""Counts, layer table, receptive fields against published numbers, latency, memory."""

import pytest
import torch
from torch import Tensor, nn

import corinth
from corinth.inspect import count_macs, count_params, latency, layers, peak_memory
from corinth.inspect.memory import (
    freed_memory_is_kept,
    freed_memory_kept,
    keep_freed_memory,
    release_memory,
    resident_memory,
)


def conv(kernel: int, stride: int = 1, padding: int = 0, channels: int = 1, **options) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, stride, padding, **options)


def fields(model: nn.Module, size: tuple[int, int, int]) -> dict[str, tuple[int, int] | None]:
    return {row.name: row.receptive_field for row in layers(model, size)}


def alexnet_trunk() -> nn.Sequential:
    return nn.Sequential(
        conv(11, 4, 2), nn.MaxPool2d(3, 2), conv(5, 1, 2), nn.MaxPool2d(3, 2),
        conv(3, 1, 1), conv(3, 1, 1), conv(3, 1, 1), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def vgg16_trunk() -> nn.Sequential:
    blocks = [[*(conv(3, 1, 1) for _ in range(n)), nn.MaxPool2d(2)] for n in (2, 2, 3, 3, 3)]
    return nn.Sequential(*(layer for block in blocks for layer in block))


class Residual(nn.Module):
    """A bottleneck with its stride in the 3x3 (v1.5) or in the first 1x1 (v1)."""

    def __init__(self, stride: int, v1: bool = False) -> None:
        super().__init__()
        first, second = (stride, 1) if v1 else (1, stride)
        self.body = nn.Sequential(conv(1, first), nn.BatchNorm2d(1), nn.ReLU(), conv(3, second, 1), conv(1))
        self.shortcut = conv(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv(1), conv(3, 1, 1), conv(5, 1, 2), nn.MaxPool2d(3, 1, 1)])
        self.after = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(torch.cat([branch(x) for branch in self.branches], dim=1))


class OptionA(nn.Module):
    """Every second pixel, padded channels: the parameter-free shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(nn.functional.pad(x[:, :, 1::2, ::2], (0, 0, 0, 0, 1, 1)))


def test_receptive_fields_of_alexnet():
    # Araujo et al. 2019, and the original's published table
    sizes = [size[0] for size in fields(alexnet_trunk(), (1, 224, 224)).values() if size]
    assert sizes == [11, 19, 51, 67, 99, 131, 163, 195]


def test_receptive_fields_of_vgg16():
    assert list(fields(vgg16_trunk(), (1, 224, 224)).values())[-1] == (212, 212)


@pytest.mark.parametrize(("v1", "size"), [(True, 483), (False, 427)])
def test_receptive_field_of_resnet50(v1: bool, size: int):
    # 483 is Araujo et al. 2019, whose ResNet strides in the 1x1; v1.5's 3x3 at the finer jump sees 8 + 16 + 32 less
    stages = [Residual(stride, v1) for stride in (1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1)]
    rows = layers(nn.Sequential(conv(7, 2, 3), nn.MaxPool2d(3, 2, 1), *stages), (1, 224, 224))
    assert max(row.receptive_field for row in rows if row.receptive_field) == (size, size)
    assert rows[-1].jump == (32, 32)


def test_receptive_field_is_the_widest_of_the_branches():
    found = fields(Inception(), (1, 16, 16))
    assert found["branches.0"] == (1, 1)
    assert found["branches.2"] == (5, 5)
    assert found["after"] == (7, 7)


def test_receptive_field_matches_the_gradient_footprint():
    torch.manual_seed(0)
    net = nn.Sequential(conv(3, 2, 1, bias=False), Residual(2), conv(3, 1, 1, dilation=2, bias=False)).eval().double()
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    image = torch.rand(1, 1, 96, 96, dtype=torch.double, requires_grad=True)
    out = net(image)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    assert image.grad is not None
    rows, columns = image.grad[0, 0].nonzero().unbind(1)  # the dilation leaves holes: compare the extent
    extent = (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1)
    assert extent == layers(net, (1, 96, 96))[-1].receptive_field


def test_slicing_and_channel_padding_keep_the_field():
    row = layers(OptionA(), (1, 8, 8))[-1]
    assert (row.receptive_field, row.jump, row.out_shape) == ((1, 1), (2, 2), (3, 4, 4))


@pytest.mark.parametrize(
    "head", [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())]
)
def test_pooled_or_flattened_maps_see_everything(head: nn.Module):
    row = layers(nn.Sequential(conv(3), head), (1, 10, 10))[-1]
    assert row.receptive_field == (10, 10)
    assert row.jump == (0, 0) or row.out_shape == (1, 2, 2)


def test_a_transposed_convolution_makes_the_field_unknown():
    rows = layers(nn.Sequential(conv(3), nn.ConvTranspose2d(1, 1, 2, 2), nn.ReLU()), (1, 10, 10))
    assert [row.receptive_field for row in rows] == [(3, 3), None, None]


def test_local_response_normalisation_keeps_the_field():
    assert fields(nn.Sequential(conv(3), nn.LocalResponseNorm(5)), (1, 10, 10))["1"] == (3, 3)


def test_layer_rows():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5))
    first, relu, _, last = layers(net, (3, 8, 8))
    assert (first.type, first.kernel, first.stride, first.padding, first.groups) == (
        "Conv2d",
        (3, 3),
        (2, 2),
        (1, 1),
        1,
    )
    assert (first.in_shape, first.out_shape) == ((3, 8, 8), (8, 4, 4))
    assert (first.params, first.macs) == (3 * 8 * 9 + 8, 3 * 8 * 9 * 16)
    assert (relu.kernel, relu.params, relu.macs) == (None, 0, 0)
    assert (last.params, last.macs) == (8 * 16 * 5 + 5, 8 * 16 * 5)


class Shared(nn.Module):
    """A layer used twice, and a parameter with a matrix product that belong to the module itself."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 6)
        self.table = nn.Parameter(torch.zeros(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.mix(x.flatten(1))) @ self.table


def test_columns_add_up_to_the_network():
    net = Shared()
    rows = layers(net, (1, 2, 3))
    assert [row.params for row in rows] == [18, 42, 0]
    assert sum(row.params for row in rows) == count_params(net)
    assert sum(row.macs for row in rows) == count_macs(net, (1, 2, 3)) == 18 + 36 + 36


def test_counting_leaves_the_model_alone():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 4)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert count_macs(net, (1, 8, 8)) == 2 * 9 * 36 + 72 * 4
    layers(net, (1, 8, 8))
    assert net.training
    assert all(p.device.type == "cpu" for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, before[key])


def test_count_params_leaves_out_frozen_tensors():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).requires_grad_(False)
    net[1].requires_grad_(True)
    assert count_params(net) == 10


class Functional(nn.Module):
    """Pools that are no modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.conv(x), 3, 2, 1)
        return nn.functional.adaptive_avg_pool2d(nn.functional.avg_pool2d(x, 2), 1)


def test_pools_called_as_functions_are_rows():
    rows = layers(nn.Sequential(Functional()), (1, 16, 16))
    assert [row.name for row in rows] == ["0.conv", "0.max_pool2d", "0.avg_pool2d", "0.global_avg_pool2d"]
    _, first, second, last = rows
    assert (first.kernel, first.stride, first.padding, first.out_shape) == ((3, 3), (2, 2), (1, 1), (1, 8, 8))
    assert (second.kernel, second.stride, second.padding, second.out_shape) == ((2, 2), (2, 2), (0, 0), (1, 4, 4))
    assert (last.kernel, last.out_shape, last.jump) == (None, (1, 1, 1), (0, 0))
    assert [row.receptive_field for row in rows] == [(3, 3), (5, 5), (7, 7), (19, 19)]


def test_attention_is_counted():
    class Attend(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    assert count_macs(Attend(), (2, 6, 8)) == 2 * 2 * 6 * 6 * 8


def test_latency_states_its_conditions():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.5)).train()
    before = torch.get_num_threads()
    found = latency(net, (1, 8, 8), batch=3, threads=1, seconds=0.02)
    assert (found.threads, found.batch, found.device) == (1, 3, "cpu")
    assert found.n >= 5
    assert 0 < found.quartiles_ms[0] <= found.median_ms <= found.quartiles_ms[1]
    assert found.spread >= 0
    assert found.samples_per_second == pytest.approx(3000 / found.median_ms)
    assert torch.get_num_threads() == before
    assert net.training
    assert net[0].weight.is_contiguous()


def test_freed_memory_stays_inside_the_block_and_goes_back_behind_it():
    size = 2**26
    release_memory()
    if resident_memory() is None:
        pytest.skip("this system does not say how much memory a process has")
    start = resident_memory()
    with freed_memory_kept() as kept:
        if not kept:
            pytest.skip("this C library cannot keep freed memory")
        torch.ones(size // 4)
        assert resident_memory() - start > 0.9 * size
    assert resident_memory() - start < 0.5 * size


def test_memory_is_kept_as_long_as_anyone_wants_it():
    one, two = freed_memory_kept(), freed_memory_kept()
    if not one.__enter__():
        one.__exit__(None, None, None)
        pytest.skip("this C library cannot keep freed memory")
    two.__enter__()
    one.__exit__(None, None, None)
    assert freed_memory_is_kept(), "the other block is still open"
    keep_freed_memory(True)
    two.__exit__(None, None, None)
    assert freed_memory_is_kept(), "it was wanted for good"
    assert not keep_freed_memory(False)
    assert not freed_memory_is_kept()


def test_peak_memory_sees_what_was_freed_again():
    release_memory()  # or what other tests left would be given back in between
    with peak_memory() as peak:
        block = torch.ones(64 * 2**20, dtype=torch.uint8)
        del block
    if peak.bytes is None:
        pytest.skip("this system does not let a process reset its memory high-water mark")
    assert 60 * 2**20 < peak.bytes < 200 * 2**20
    assert peak.kind == "resident"


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("lenet5", {5, 6, 14, 16, 32}),  # LeCun et al. 1998, figure 2: C1, S2, C3, S4, C5
        ("alexnet_2012", {11, 19, 51, 67, 99, 131, 163, 195}),
        ("vgg16", {3, 5, 6, 10, 14, 16, 24, 32, 40, 44, 60, 76, 92, 100, 132, 164, 196, 212}),
        ("resnet50_v1", {483}),  # Araujo et al. 2019
        ("resnet101", {971}),  # v1.5; theirs, 1027, is v1's
    ],
)
def test_receptive_fields_of_the_registered_networks(name: str, published: set[int]):
    with torch.device("meta"):
        model = corinth.create_model(name)
    rows = layers(model, corinth.card(name).input_size)
    mapped = [row.receptive_field[0] for row in rows if row.receptive_field and len(row.out_shape) == 3 and row.jump[0]]
    assert published <= set(mapped)
    assert max(mapped) == max(published)
    assert sum(row.params for row in rows) == count_params(model)
    assert sum(row.macs for row in rows) == corinth.card(name).macs
