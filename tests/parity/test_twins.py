"""Architectures without a public peer, against twins written here in the plainest way, straight from the papers.

The twins share nothing with our modules but the tensors: loops over connections, towers cut apart by hand, sums
written out. Everything runs in double precision with every tensor randomised.
"""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth import create_model
from corinth.layers.auxiliary import WithAux
from corinth.models.convolutional.lenet import TABLE as LENET_TABLE

State = Mapping[str, Tensor]
COMPARED: set[str] = set()  # registered names that have a twin here


def twin_of(*names: str) -> pytest.MarkDecorator:
    """The test takes each of these registered names, as `name`; `test_every_name.py` learns them from here."""
    COMPARED.update(names)
    return pytest.mark.parametrize("name", names)


def random_model(name: str, **options: Any) -> nn.Module:
    draw = torch.Generator().manual_seed(0)
    model = create_model(name, **options).double()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("codes") or not tensor.is_floating_point():
                continue
            elif tensor.ndim > 1:
                fan_in = 100 if tensor.ndim == 3 else tensor[0].numel()
                tensor.copy_(torch.randn(tensor.shape, generator=draw) * (2 / fan_in) ** 0.5)
            elif key.endswith(("running_var", "weight", "coefficient")):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
            else:
                tensor.copy_(torch.randn(tensor.shape, generator=draw) * 0.2)
    return model


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def assert_twins(model: nn.Module, twin: Any, x: Tensor) -> None:
    """Equal outputs, and equal gradients of every parameter."""
    model.eval()
    want = twin(dict(model.named_parameters()) | dict(model.named_buffers()), x)
    got = model(x)
    assert want.detach().std() > 1e-3
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-10 * max(1.0, float(want.detach().abs().max())))
    direction = torch.randn(got.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    parameters = dict(model.named_parameters())
    ours = torch.autograd.grad((got * direction).sum(), list(parameters.values()))
    theirs = torch.autograd.grad((want * direction).sum(), list(parameters.values()))
    scale = max(float(gradient.abs().max()) for gradient in theirs)
    for name, a, b in zip(parameters, ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10 * scale, msg=lambda text, name=name: f"{name}: {text}")


def conv(state: State, name: str, x: Tensor, **how: Any) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **how)


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def ceil_pool(x: Tensor, kernel: int = 3, stride: int = 2) -> Tensor:
    """Max pooling whose windows may hang over the right and lower edge, as Caffe's: padded with -inf by hand."""
    size = x.shape[-1]
    out = -(-(size - kernel) // stride) + 1
    more = (out - 1) * stride + kernel - size
    return F.max_pool2d(F.pad(x, (0, more, 0, more), value=-torch.inf), kernel, stride)


def ceil_mean(x: Tensor, kernel: int = 3, stride: int = 2) -> Tensor:
    """`ceil_pool` with means: of what is inside the image alone."""
    size = x.shape[-1]
    starts = range(0, -(-(size - kernel) // stride) * stride + 1, stride)
    columns = [torch.stack([x[:, :, i : i + kernel, j : j + kernel].mean((2, 3)) for j in starts], 2) for i in starts]
    return torch.stack(columns, dim=2)


def response_norm(x: Tensor, *, n: int, alpha: float, beta: float, k: float) -> Tensor:
    """b_c = a_c / (k + alpha * sum over the n channels around c of a^2) ^ beta."""
    maps = []
    for c in range(x.shape[1]):
        window = x[:, max(0, c - n // 2) : c + n // 2 + 1]
        maps.append(x[:, c] / (k + alpha * window.square().sum(dim=1)) ** beta)
    return torch.stack(maps, dim=1)


@twin_of("lenet5")
def test_lenet5(name: str) -> None:
    def twin(state: State, x: Tensor) -> Tensor:
        x = F.max_pool2d(conv(state, "c1", x).clamp(min=0), 2)
        x = F.max_pool2d(conv(state, "c3", x).clamp(min=0), 2)
        # C5 is fully connected to the 16 maps of 5x5
        x = (x.flatten(1) @ state["c5.weight"].flatten(1).T + state["c5.bias"]).clamp(min=0)
        return linear(state, "head", linear(state, "f6", x).clamp(min=0))

    assert_twins(random_model(name), twin, images(3, 1, 32, 32))


@twin_of("lenet5_1998")
def test_lenet5_of_1998_connection_by_connection(name: str) -> None:
    def f(a: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(2 / 3 * a)

    def subsample(state: State, name: str, x: Tensor) -> Tensor:
        total = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
        coefficient, bias = state[f"{name}.coefficient"], state[f"{name}.bias"]
        return f(torch.stack([total[:, c] * coefficient[c] + bias[c] for c in range(x.shape[1])], dim=1))

    def twin(state: State, x: Tensor) -> Tensor:
        x = subsample(state, "s2", f(conv(state, "c1", x)))
        maps, used = [], 0
        for out, sources in enumerate(LENET_TABLE):
            total = state["c3.bias"][out]
            for source in sources:
                kernel = state["c3.weight"][used][None, None]
                total = total + F.conv2d(x[:, source : source + 1], kernel)[:, 0]
                used += 1
            maps.append(total)
        assert used == 60
        x = subsample(state, "s4", f(torch.stack(maps, dim=1)))
        x = f(x.flatten(1) @ state["c5.weight"].flatten(1).T + state["c5.bias"])
        x = f(linear(state, "f6", x))
        return -(x[:, None, :] - state["head.codes"][None]).square().sum(dim=2)

    assert_twins(random_model(name), twin, images(3, 1, 32, 32))


# The paper's text: which maps of S2 each map of C3 takes (table I, by its columns).
COLUMNS = """
X...XXX..XXXX.XX
XX...XXX..XXXX.X
XXX...XXX..X.XXX
.XXX..XXXX..X.XX
..XXX..XXXX.XX.X
...XXX..XXXX.XXX
"""


def test_the_connection_table_is_the_papers() -> None:
    rows = COLUMNS.split()
    table = tuple(tuple(s for s, row in enumerate(rows) if row[out] == "X") for out in range(16))
    assert table == LENET_TABLE


@twin_of("cnn")
@pytest.mark.parametrize(("activation", "pool"), [("relu", "max"), ("tanh", "avg"), ("sigmoid", "max")])
def test_cnn(name: str, activation: str, pool: str) -> None:
    act = {"relu": lambda a: a.clamp(min=0), "tanh": torch.tanh, "sigmoid": lambda a: 1 / (1 + torch.exp(-a))}
    pools = {"max": lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)),
             "avg": lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))}  # fmt: skip
    model = random_model(name, activation=activation, pool=pool, img_size=16)
    convs = [key for key, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    hidden = [key for key, layer in model.hidden.named_modules(prefix="hidden") if isinstance(layer, nn.Linear)]
    assert (len(convs), len(hidden)) == (3, 1)

    def twin(state: State, x: Tensor) -> Tensor:
        for key in convs:
            x = pools[pool](act[activation](conv(state, key, x, padding=1)))
        return linear(state, "head", act[activation](linear(state, hidden[0], x.flatten(1))))

    assert_twins(model, twin, images(2, 3, 16, 16))


@twin_of("alexnet_2012")
def test_alexnet_of_2012_as_two_towers(name: str) -> None:
    def half(state: State, key: str, x: Tensor, tower: int, **how: Any) -> Tensor:
        weight, bias = state[f"{key}.weight"], state[f"{key}.bias"]
        return F.conv2d(x, weight.chunk(2)[tower], bias.chunk(2)[tower], **how).clamp(min=0)

    def twin(state: State, x: Tensor) -> Tensor:
        constants = {"n": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}  # section 3.3
        towers = [half(state, "conv1", x, tower, stride=4) for tower in (0, 1)]
        norm = response_norm(torch.cat(towers, 1), **constants)
        towers = [
            half(state, "conv2", F.max_pool2d(part, 3, 2), tower, padding=2)
            for tower, part in enumerate(norm.chunk(2, 1))
        ]
        both = F.max_pool2d(response_norm(torch.cat(towers, 1), **constants), 3, 2)
        towers = [half(state, "conv3", both, tower, padding=1) for tower in (0, 1)]  # the towers meet
        for key in ("conv4", "conv5"):
            towers = [half(state, key, part, tower, padding=1) for tower, part in enumerate(towers)]
        x = F.max_pool2d(torch.cat(towers, 1), 3, 2)
        assert x.shape[1:] == (256, 6, 6)
        x = x.flatten(1)
        return linear(state, "head", linear(state, "fc7", linear(state, "fc6", x).clamp(min=0)).clamp(min=0))

    model = random_model(name, fc_dim=32, num_classes=5)
    assert_twins(model, twin, images(1, 3, 227, 227))


NINS = {  # stride and padding of each layer's first convolution, the pools between the layers, the image's side
    "nin_cifar10": (((1, 2), (1, 2), (1, 1)), ("max", "avg"), 32),
    "nin_imagenet": (((4, 0), (1, 2), (1, 1), (1, 1)), ("max", "max", "max"), 99),
}


@twin_of(*NINS)
def test_nin(name: str) -> None:
    windows, between, size = NINS[name]

    def twin(state: State, x: Tensor) -> Tensor:
        for stage, (stride, padding) in enumerate(windows):
            if stage:
                x = {"max": ceil_pool, "avg": ceil_mean}[between[stage - 1]](x)
            x = conv(state, f"layers.{stage}.0", x, stride=stride, padding=padding).clamp(min=0)
            for layer in (2, 4):
                key = f"layers.{stage}.{layer}"
                x = conv(state, key, x).clamp(min=0) if f"{key}.weight" in state else x
        return conv(state, "head", x).clamp(min=0).flatten(2).mean(dim=2)

    model = random_model(name, num_classes=5)
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == 3 * len(windows)
    assert_twins(model, twin, images(2, 3, size, size))


def googlenet_twin(state: State, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The paper's table 1, row by row, with Caffe's pools and norms."""
    constants = {"n": 5, "alpha": 1e-4 / 5, "beta": 0.75, "k": 1.0}  # BVLC's alpha is divided by the window

    def unit(name: str, x: Tensor, **how: Any) -> Tensor:
        return conv(state, f"{name}.conv", x, **how).clamp(min=0)

    def inception(name: str, x: Tensor) -> Tensor:
        name = f"inception{name}"
        pooled = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, 1)
        return torch.cat(
            [
                unit(f"{name}.one", x),
                unit(f"{name}.three", unit(f"{name}.three_reduce", x), padding=1),
                unit(f"{name}.five", unit(f"{name}.five_reduce", x), padding=2),
                unit(f"{name}.pool_proj", pooled),
            ],
            dim=1,
        )

    def aux(index: int, x: Tensor) -> Tensor:
        name, step = f"aux_heads.{index}", x.shape[-1] // 4
        x = unit(f"{name}.conv", x.unfold(2, step, step).unfold(3, step, step).mean((4, 5)))
        return linear(state, f"{name}.head", linear(state, f"{name}.fc", x.flatten(1)).clamp(min=0))

    x = response_norm(ceil_pool(unit("conv1", x, stride=2, padding=3)), **constants)
    x = response_norm(unit("conv2", unit("conv2_reduce", x), padding=1), **constants)
    x = inception("3b", inception("3a", ceil_pool(x)))
    x = inception("4a", ceil_pool(x))
    first = aux(0, x)
    x = inception("4d", inception("4c", inception("4b", x)))
    second = aux(1, x)
    x = inception("5b", inception("5a", ceil_pool(inception("4e", x))))
    return linear(state, "head", x.flatten(2).mean(dim=2)), first, second


class Concatenated(nn.Module):
    """GoogLeNet in training without its dropout, its three outputs as one."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        for layer in net.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0

    def forward(self, x: Tensor) -> Tensor:
        result = self.net.train()(x)
        assert isinstance(result, WithAux)
        assert result.weight == 0.3
        return torch.cat((result.logits, *result.aux), dim=1)


@twin_of("googlenet")
def test_googlenet_of_the_paper(name: str) -> None:
    def twin(state: State, x: Tensor) -> Tensor:
        return torch.cat(googlenet_twin({key.removeprefix("net."): state[key] for key in state}, x), dim=1)

    model = random_model(name, num_classes=5)
    x = images(1, 3, 128, 128)
    assert_twins(Concatenated(model), twin, x)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), googlenet_twin(model.state_dict(), x)[0])


def norm(state: State, name: str, x: Tensor) -> Tensor:
    """Batch norm with running statistics, where the network has it."""
    if f"{name}.running_mean" not in state:
        return x
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale = state[f"{name}.weight"] / (var + 1e-5).sqrt()
    return (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][:, None, None]


CIFAR_BLOCKS = {20: 3, 32: 5, 44: 7, 56: 9, 110: 18}  # depth, blocks of each stage: 6n + 2 layers


@twin_of(*(f"resnet{depth}_cifar10" for depth in CIFAR_BLOCKS))
def test_resnet_cifar_with_padded_shortcuts(name: str) -> None:
    """Section 4.2 with option A: identity shortcuts, every other pixel, zeros for the new channels."""
    blocks = CIFAR_BLOCKS[int(name.removeprefix("resnet").removesuffix("_cifar10"))]

    def twin(state: State, x: Tensor) -> Tensor:
        x = norm(state, "stem.norm", conv(state, "stem.conv", x, padding=1)).clamp(min=0)
        for stage, width in enumerate((16, 32, 64)):
            for block in range(blocks):
                key = f"stages.{stage}.{block}"
                stride = 2 if stage and not block else 1
                y = conv(state, f"{key}.conv1", x, padding=1, stride=stride)
                y = conv(state, f"{key}.conv2", norm(state, f"{key}.norm1", y).clamp(min=0), padding=1)
                if stride == 2:
                    small = x[:, :, ::2, ::2]
                    zeros = torch.zeros_like(small[:, : width // 4])
                    x = torch.cat((zeros, small, zeros), dim=1)
                x = (norm(state, f"{key}.norm2", y) + x).clamp(min=0)
        return linear(state, "head", x.flatten(2).mean(dim=2))

    model = random_model(name)
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == 6 * blocks + 1
    assert_twins(model, twin, images(2, 3, 20, 20))


@twin_of("unet", "unet_bn")
def test_unet(name: str) -> None:
    """Figure 1, with the up-convolutions written as one matrix product for each of the four places of a 2x2 window."""
    step = 3 if name == "unet_bn" else 2

    def two(state: State, row: str, x: Tensor) -> Tensor:
        for index in (0, step):
            x = norm(state, f"{row}.{index + 1}", conv(state, f"{row}.{index}", F.pad(x, (1, 1, 1, 1)))).clamp(min=0)
        return x

    def grow(state: State, row: str, x: Tensor) -> Tensor:
        weight, bias = state[f"{row}.weight"], state[f"{row}.bias"]
        out = x.new_zeros(len(x), weight.shape[1], 2 * x.shape[2], 2 * x.shape[3])
        for i in (0, 1):
            for j in (0, 1):
                out[:, :, i::2, j::2] = torch.einsum("bchw,cd->bdhw", x, weight[:, :, i, j]) + bias[:, None, None]
        return out

    def twin(state: State, x: Tensor) -> Tensor:
        a = two(state, "down.0", x)
        b = two(state, "down.1", F.max_pool2d(a, 2))
        c = two(state, "down.2", F.max_pool2d(b, 2))
        d = two(state, "down.3", F.max_pool2d(c, 2))
        y = two(state, "down.4", F.max_pool2d(d, 2))
        for index, beside in enumerate((d, c, b, a)):
            y = two(state, f"merge.{index}", torch.cat([beside, grow(state, f"up.{index}", y)], dim=1))
        return conv(state, "head", y)

    assert_twins(random_model(name, width=4, num_classes=3), twin, images(2, 1, 32, 48))


@twin_of("semantic_fpn_resnet18", "semantic_fpn_mobilenetv2_100")
def test_semantic_fpn(name: str) -> None:
    """Figure 3: every level by itself, from the pyramid's sums to a quarter of the image's side.

    The backbone is ours in both; `test_peers.py` and `test_features.py` compare it with timm's.
    """
    model = random_model(name, num_classes=3)
    maps: Any = model.backbone

    def unit(state: State, key: str, x: Tensor) -> Tensor:
        x = conv(state, f"{key}.0", x, padding=1)
        groups = x.unflatten(1, (32, -1))  # (B, groups, C / groups, H, W)
        mean, var = groups.mean((2, 3, 4), keepdim=True), groups.var((2, 3, 4), keepdim=True, unbiased=False)
        x = ((groups - mean) / (var + 1e-5).sqrt()).flatten(1, 2)
        return (x * state[f"{key}.1.weight"][:, None, None] + state[f"{key}.1.bias"][:, None, None]).clamp(min=0)

    def double(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    def twin(state: State, x: Tensor) -> Tensor:
        sides = [conv(state, f"pyramid.laterals.{i}", found) for i, found in enumerate(maps(x))]
        for i in (2, 1, 0):  # the coarser one, each pixel twice in both directions
            sides[i] = sides[i] + sides[i + 1].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        levels = [conv(state, f"pyramid.smooths.{i}", side, padding=1) for i, side in enumerate(sides)]
        total = unit(state, "branch.0.convs.0", levels[0])
        for i in (1, 2, 3):
            for j in range(i):
                levels[i] = double(unit(state, f"branch.{i}.convs.{j}", levels[i]))
            total = total + levels[i]
        return F.interpolate(conv(state, "head", total), scale_factor=4, mode="bilinear", align_corners=False)

    assert_twins(model, twin, images(2, 3, 64, 96))


MIXNETPP_LAYERS = {"mixnetpp_s": (1, 1, 2, 4), "mixnetpp_m": (1, 2, 2, 5), "mixnetpp_l": (1, 2, 2, 5)}


@twin_of(*MIXNETPP_LAYERS)
def test_mixnetpp_branch_by_branch(name: str) -> None:
    """Corinth's own design, as its docstring tells it: no layer of the library is called."""

    def unit(state: State, key: str, x: Tensor, **how: Any) -> Tensor:
        return norm(state, f"{key}.norm", conv(state, f"{key}.conv", x, **how))

    def swish(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def mixed(state: State, key: str, x: Tensor, kernels: tuple[int, ...], stride: int) -> Tensor:
        y = swish(unit(state, f"{key}.expand", x)) if f"{key}.expand.conv.weight" in state else x
        weights = [state[f"{key}.branches.conv.convs.{branch}.weight"] for branch in range(len(kernels))]
        maps: list[Tensor] = []
        first = 0
        for weight, kernel in zip(weights, kernels):
            assert weight.shape[1:] == (1, kernel, kernel)
            part, first = y[:, first : first + len(weight)], first + len(weight)
            if maps and stride == 1:
                part = part + maps[-1][:, : len(weight)]
            maps.append(F.conv2d(part, weight, None, stride, kernel // 2, groups=len(weight)))
        y = swish(norm(state, f"{key}.branches.norm", torch.cat(maps, dim=1)))
        hidden = swish(conv(state, f"{key}.attention.reduce", y.mean((2, 3), keepdim=True)))
        share = torch.softmax(conv(state, f"{key}.attention.expand", hidden), dim=1) * len(kernels)
        y = torch.cat([part * share[:, b : b + 1] for b, part in enumerate(y.split([*map(len, weights)], 1))], dim=1)
        y = unit(state, f"{key}.project", y)
        return y + x if x.shape == y.shape else y

    def twin(state: State, x: Tensor) -> Tensor:
        x = swish(unit(state, "stem", x, stride=2, padding=1))
        means = []
        three, four = (3, 5, 7), (3, 5, 7, 9)
        kernels = (((3, 5), (3, 5)), ((3, 5), (3, 5)), (three, three), (three, four))  # of the first layer, of others
        for stage, layers in enumerate(MIXNETPP_LAYERS[name]):
            for layer in range(layers):
                stride = 2 if stage and not layer else 1
                x = mixed(state, f"stages.{stage}.{layer}", x, kernels[stage][min(layer, 1)], stride)
            means.append(x.flatten(2).mean(dim=2))
        y = torch.cat(means[1:], dim=1)
        centred = y - y.mean(dim=1, keepdim=True)
        y = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
        y = swish(linear(state, "last", y * state["norm.weight"] + state["norm.bias"]))
        return linear(state, "head", y)

    assert_twins(random_model(name, num_classes=5), twin, images(2, 3, 48, 48))
