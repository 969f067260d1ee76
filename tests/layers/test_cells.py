"""The kernel for LSTMs against the loop over their steps, and when it keeps out of the way."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import corinth
from corinth.layers import cells, native, recurrence
from corinth.layers.compiler import uncompiled
from corinth.layers.recurrence import State, Step, recur, unrolled
from corinth.models.recurrent.lstm import lstm_step, normed_lstm_step
from corinth.models.recurrent.peephole import normed_peephole_step, peephole_step

pytestmark = pytest.mark.skipif(not native.is_there(), reason="needs a C++ compiler")
STEPS: dict[str, tuple[Step, tuple[int, ...]]] = {  # and the sizes of its weights in H
    "lstm": (lstm_step, ()),
    "peephole": (peephole_step, (3,)),
    "lstm normed": (normed_lstm_step, (4, 4, 4, 1, 1)),
    "peephole normed": (normed_peephole_step, (4, 4, 4, 3, 1, 1)),
}
SIZES = [(1, 1, 1), (5, 3, 4), (3, 17, 65), (2, 300, 33), (30, 40, 6), (2, 0, 4)]  # steps, batch, hidden units
every_step = pytest.mark.parametrize("name", STEPS)


def arguments(name: str, steps: int = 5, batch: int = 3, hidden: int = 4) -> list[Tensor]:
    """x, U, h, c, weights."""
    chance = torch.Generator().manual_seed(1)
    shapes = [(steps, batch, 4 * hidden), (4 * hidden, hidden), *[(batch, hidden)] * 2]
    shapes += [(size * hidden,) for size in STEPS[name][1]]
    values = [torch.randn(shape, generator=chance) for shape in shapes]
    values[1] /= hidden**0.5
    return [value.requires_grad_() for value in values]


def call(run: Callable[..., State], name: str, inputs: list[Tensor], mask: Tensor | None = None) -> State:
    x, u_weight, h, c, *weights = inputs
    return run(STEPS[name][0], x, u_weight, (h, c), tuple(weights), mask=mask)


def results(run: Callable[..., State], name: str, inputs: list[Tensor], mask: Tensor | None = None) -> list[Tensor]:
    """All states, and the gradients of a sum that weighs each of their values differently."""
    outputs = call(run, name, inputs, mask)
    weighed = [torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value) for value in outputs]
    return [*(value.detach() for value in outputs), *torch.autograd.grad(outputs, inputs, weighed)]


def exact(name: str, inputs: list[Tensor], mask: Tensor | None = None) -> list[Tensor]:
    double = [value.detach().double().requires_grad_() for value in inputs]
    return results(unrolled, name, double, None if mask is None else mask.double())


def assert_right(got: list[Tensor], want: list[Tensor]) -> None:
    for ours, right in zip(got, want, strict=True):
        scale = float(right.abs().max()) if right.numel() else 0.0
        torch.testing.assert_close(ours.detach().double(), right, rtol=0, atol=5e-6 * scale + 2e-6)


@every_step
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.usefixtures("threads")
def test_all_states_and_all_gradients(name: str, sizes: tuple[int, int, int], ran: list[str]) -> None:
    inputs = arguments(name, *sizes)
    assert_right(results(recur, name, inputs), exact(name, inputs))
    assert ran == ["lstm_forward", "lstm_backward"]


def test_weights_that_are_frozen() -> None:
    inputs = arguments("peephole")
    x, _, *rest = exact("peephole", inputs)[2:]
    inputs[1].requires_grad_(False)
    total = sum((value * torch.linspace(-1, 1, 60).view_as(value)).sum() for value in call(recur, "peephole", inputs))
    assert_right(list(torch.autograd.grad(total, [inputs[0], *inputs[2:]])), [x, *rest])


@every_step
def test_dropout_of_the_recurrent_connection(name: str, ran: list[str]) -> None:
    inputs = arguments(name, batch=7, hidden=33)
    mask = torch.randint(0, 2, (7, 1), generator=torch.Generator().manual_seed(1)).float().mul(2).expand(7, 33)
    assert_right(results(recur, name, inputs, mask), exact(name, inputs, mask))
    assert ran[:2] == ["lstm_forward", "lstm_backward"]


@every_step
def test_gradients_of_one_of_the_states_alone(name: str) -> None:
    inputs = arguments(name)
    for which in (0, 1):
        double = [value.detach().double().requires_grad_() for value in inputs]
        got = torch.autograd.grad(call(recur, name, inputs)[which].square().sum(), inputs, allow_unused=True)
        want = torch.autograd.grad(call(unrolled, name, double)[which].square().sum(), double, allow_unused=True)
        for ours, right in zip(got, want, strict=True):
            assert_right([ours], [torch.zeros_like(ours, dtype=torch.double) if right is None else right])


@every_step
@pytest.mark.parametrize("learns", [False, True])
def test_without_gradients_nothing_is_kept(name: str, learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, kept = arguments(name), []
    real = cells.forward
    monkeypatch.setattr(cells, "forward", lambda *given, **options: kept.append(real(*given, **options)) or kept[-1])
    with torch.set_grad_enabled(learns):
        found = call(recur, name, inputs)
    assert [value is not None for value in kept[0]] == [learns, learns and "normed" in name]
    assert_right(list(found), exact(name, inputs)[:2])


@every_step
def test_the_same_to_the_last_bit_each_time(name: str) -> None:
    inputs = arguments(name, steps=20, batch=30, hidden=40)
    first, again = results(recur, name, inputs), results(recur, name, inputs)
    assert all(torch.equal(one, other) for one, other in zip(first, again))


def test_values_far_from_zero() -> None:
    """Gates that are open or shut altogether, and a value that is no number, which stays in its own sequence."""
    x, *rest = arguments("peephole")
    far = (x.detach() * 1e4).requires_grad_()
    assert_right(results(recur, "peephole", [far, *rest]), exact("peephole", [far, *rest]))
    broken = x.detach().clone()
    broken[1, 0, 0] = torch.nan
    h = call(recur, "peephole", [broken, *rest])[0].isnan()
    assert h[1:, 0].any()
    assert not h[:, 1:].any()
    assert not h[0].any()


@every_step
def test_derivatives_of_gradients(name: str) -> None:
    inputs = arguments(name, 2, 2, 3)

    def twice(run: Callable[..., State], inputs: list[Tensor]) -> tuple[Tensor, ...]:
        total = call(run, name, inputs)[0].square().sum()
        grads = torch.autograd.grad(total, inputs, create_graph=True)
        return torch.autograd.grad(sum(grad.square().sum() for grad in grads), inputs)

    double = [value.detach().double().requires_grad_() for value in inputs]
    for ours, right in zip(twice(recur, inputs), twice(unrolled, double), strict=True):
        torch.testing.assert_close(ours.double(), right, rtol=1e-3, atol=1e-4)


def test_gradients_of_several_sums_at_once() -> None:
    inputs = arguments("peephole")
    directions = torch.randn(3, 5, 3, 4, generator=torch.Generator().manual_seed(2))
    h = call(recur, "peephole", inputs)[0]
    together = torch.autograd.grad(h, inputs, directions, is_grads_batched=True, retain_graph=True)
    one = torch.autograd.grad(h, inputs, directions[1])
    for ours, right in zip(together, one, strict=True):
        assert not ours.requires_grad
        torch.testing.assert_close(ours[1], right, rtol=1e-4, atol=1e-5)


def test_gradients_are_no_views() -> None:
    """So that what is learnt can be added to them in place, with a gradient of its own."""
    inputs = arguments("peephole normed")
    for grad in torch.autograd.grad(call(recur, "peephole normed", inputs)[0].sum(), inputs):
        grad.add_(0.1 * torch.ones_like(grad).requires_grad_())


def laid_out_otherwise(value: Tensor) -> Tensor:
    return value.mT.contiguous().mT if value.ndim > 1 else value


def test_checkpoints_and_saved_tensors_that_come_back_otherwise() -> None:
    inputs = arguments("peephole normed")
    want = exact("peephole normed", inputs)

    def again(*given: Any, mask: Tensor | None = None) -> State:
        return checkpoint(recur, *given, mask=mask, use_reentrant=False)

    assert_right(results(again, "peephole normed", inputs), want)
    with torch.autograd.graph.saved_tensors_hooks(lambda value: value, laid_out_otherwise):
        assert_right(results(recur, "peephole normed", inputs), want)


@pytest.mark.parametrize("where", [0, 2])
def test_parameters_in_place_of_products_and_states(where: int, ran: list[str]) -> None:
    inputs = arguments("peephole")
    inputs[where] = torch.nn.Parameter(inputs[where].detach())
    assert_right(results(recur, "peephole", inputs), exact("peephole", inputs))
    assert ran == ["lstm_forward", "lstm_backward"]


@pytest.mark.parametrize("case", ["uncompiled", "double", "a step of one's own", "transform"])
def test_what_the_kernel_leaves_to_the_engine(case: str, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [value.detach() for value in arguments("peephole")]
    want = exact("peephole", [value.requires_grad_() for value in inputs])[:2]
    inputs = [value.detach() for value in inputs]
    if case == "double":
        found = call(recur, "peephole", [value.double() for value in inputs])
    elif case == "transform":
        found = torch.func.vmap(lambda x: call(recur, "peephole", [x, *inputs[1:]]))(inputs[0][None])
        found = tuple(value[0] for value in found)
    elif case == "uncompiled":
        with uncompiled():
            found = call(recur, "peephole", inputs)
    else:
        monkeypatch.setattr(recurrence, "_compiled", lambda plain, *_: plain)  # for the test to be quick
        x, u_weight, h, c, *weights = inputs
        found = recur(lambda *given: peephole_step(*given), x, u_weight, (h, c), tuple(weights))
    assert_right(list(found), want)
    assert not ran


BROADCAST = {
    "one state for all": lambda x, u, h, c, p: ((x, u, h[:1].expand(3, 4), c[:1].expand(3, 4), p), None),
    "a mask for all units": lambda x, u, h, c, p: ((x, u, h, c, p), torch.tensor([[2.0], [0.0], [2.0]])),
    "a mask for all sequences": lambda x, u, h, c, p: ((x, u, h, c, p), torch.tensor([2.0, 0.0, 2.0, 0.0])),
    "one peephole for all units": lambda x, u, h, c, p: ((x, u, h, c, p[:3]), None),
}
WRONG = {
    "a state of one sequence": lambda x, u, h, c, p: (x, u, h, c[:1], p),
    "U of another width": lambda x, u, h, c, p: (x, torch.cat((u, u), dim=1), h, c, p),
    "U of one gate": lambda x, u, h, c, p: (x, u[:4], h, c, p),
    "products of three gates": lambda x, u, h, c, p: (x[:, :, :12], u, h, c, p),
    "no peepholes": lambda x, u, h, c, p: (x, u, h, c),
    "one state": lambda x, u, h, c, p: (x, u, h, p),
}


@pytest.mark.parametrize("case", BROADCAST)
def test_what_torch_spreads_is_spread(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "_compiled", lambda plain, *_: plain)
    given, mask = BROADCAST[case](*(value.detach() for value in arguments("peephole")))
    want = call(unrolled, "peephole", [value.double() for value in given], None if mask is None else mask.double())
    assert_right(list(call(recur, "peephole", list(given), mask)), list(want))


@pytest.mark.parametrize("case", WRONG)
def test_sizes_that_do_not_fit_are_refused(case: str, monkeypatch: pytest.MonkeyPatch, ran: list[str]) -> None:
    monkeypatch.setattr(recurrence, "_compiled", lambda plain, *_: plain)
    given = WRONG[case](*(value.detach() for value in arguments("peephole")))
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        call(recur, "peephole", list(given))
    assert not ran


@pytest.mark.parametrize("name", ["lstm_peephole", "lstm_layernorm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_networks_run_by_the_kernel(name: str, bidirectional: bool, ran: list[str]) -> None:
    """Two layers, sequences of several lengths, dropout of all kinds: the same with and without it."""
    options = {"input_size": 5, "hidden_size": 6, "num_layers": 2, "recurrent_drop_rate": 0.3, "variational": True}
    torch.manual_seed(5)  # norms of six values enlarge rounding: one start in ten went beyond the bound, either way
    model = corinth.create_model(name, bidirectional=bidirectional, drop_rate=0.2, **options)
    x, lengths = torch.randn(4, 7, 5), [7, 1, 3, 7]

    def learned() -> list[Tensor]:
        torch.manual_seed(3)
        total = model(x, lengths).square().sum()
        return [total.detach(), *torch.autograd.grad(total, list(model.parameters()))]

    got = learned()
    assert ran.count("lstm_forward") == ran.count("lstm_backward") == (4 if bidirectional else 2)
    with uncompiled():
        torch.testing.assert_close(got, learned(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 1, 1), (300, 7, 31), (257, 64, 33), (1000, 130, 65), (0, 3, 4)])
@pytest.mark.usefixtures("threads")
def test_sums_of_products(shape: tuple[int, int, int]) -> None:
    rows, m, n = shape
    grad, x = torch.randn(rows, m), torch.randn(rows, n)
    torch.testing.assert_close(
        cells.sum_of_products(grad, x).double(), grad.double().t() @ x.double(), rtol=1e-5, atol=1e-4
    )


def test_sums_of_many_rows_lose_nothing() -> None:
    grad, x = torch.rand(100_000, 9), torch.rand(100_000, 5)
    got, want = cells.sum_of_products(grad, x).double(), grad.double().t() @ x.double()
    assert ((got - want) / want).abs().max() < 3e-6


def test_the_engine_takes_them_for_weights_of_every_cell(ran: list[str]) -> None:
    grad, x = torch.randn(40, 12), torch.randn(40, 5)
    torch.testing.assert_close(recurrence.sum_of_products(grad, x), grad.t() @ x, rtol=1e-5, atol=1e-5)
    assert ran == ["sum_of_products"]
    with uncompiled():
        torch.testing.assert_close(recurrence.sum_of_products(grad, x), grad.t() @ x, rtol=1e-5, atol=1e-5)
    assert ran == ["sum_of_products"]
