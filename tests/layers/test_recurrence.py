"""The engine of recurrent cells: the same as the loop it stands for, in outputs and in all gradients."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._inductor import config as inductor

from corinth.layers import cells, recurrence
from corinth.layers.compiler import missing_compiler, uncompiled
from corinth.layers.recurrence import State, recur, unrolled
from corinth.models.recurrent import gru, lstm, peephole, rnn

T, B, H = 5, 3, 4
STEPS = {  # step, gates, states, sizes of its weights in H
    "rnn": (rnn.tanh_step, 1, 1, ()),
    "rnn_relu": (rnn.relu_step, 1, 1, ()),
    "rnn normed": (rnn.normed_tanh_step, 1, 1, (1, 1, 1)),
    "rnn_relu normed": (rnn.normed_relu_step, 1, 1, (1, 1, 1)),
    "lstm": (lstm.lstm_step, 4, 2, ()),
    "lstm normed": (lstm.normed_lstm_step, 4, 2, (4, 4, 4, 1, 1)),
    "peephole": (peephole.peephole_step, 4, 2, (3,)),
    "peephole normed": (peephole.normed_peephole_step, 4, 2, (4, 4, 4, 3, 1, 1)),
    "gru": (gru.gru_step, 3, 1, (3,)),
    "gru normed": (gru.normed_gru_step, 3, 1, (3, 3, 3, 3)),
}
every_step = pytest.mark.parametrize("name", STEPS)


def arguments(name: str, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """x, U, states, weights: random, and each with a gradient."""
    _, gates, states, sizes = STEPS[name]
    chance = torch.Generator().manual_seed(1)
    shapes = [(T, B, gates * H), (gates * H, H), *[(B, H)] * states, *((size * H,) for size in sizes)]
    return [torch.randn(shape, generator=chance, dtype=dtype).requires_grad_() for shape in shapes]


def call(run: Callable[..., State], name: str, inputs: list[Tensor], mask: Tensor | None = None) -> State:
    step, _, states, _ = STEPS[name]
    x, u_weight, *rest = inputs
    return run(step, x, u_weight, tuple(rest[:states]), tuple(rest[states:]), mask=mask)


def results(run: Callable[..., State], name: str, inputs: list[Tensor], mask: Tensor | None = None) -> list[Tensor]:
    """All states, and the gradients of a sum that weighs each of their values differently."""
    outputs = call(run, name, inputs, mask)
    total = sum(
        (value * torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)).sum() for value in outputs
    )
    return [*outputs, *torch.autograd.grad(total, inputs)]


@every_step
@pytest.mark.parametrize("masked", [False, True])
def test_the_engine_is_the_loop(name: str, masked: bool) -> None:
    inputs = arguments(name)
    mask = torch.tensor([2.0, 0.0, 2.0, 2.0], dtype=torch.float64).expand(B, H) if masked else None
    with uncompiled():
        torch.testing.assert_close(results(recur, name, inputs, mask), results(unrolled, name, inputs, mask))


@every_step
def test_gradients_by_differences(name: str) -> None:
    inputs = arguments(name)
    with uncompiled():
        assert torch.autograd.gradcheck(lambda *tensors: call(recur, name, list(tensors)), inputs)


@pytest.mark.parametrize("name", ["peephole", "gru"])
def test_second_derivatives_by_differences(name: str) -> None:
    inputs = [value[:2].detach().requires_grad_() if n == 0 else value for n, value in enumerate(arguments(name))]
    with uncompiled():
        assert torch.autograd.gradgradcheck(lambda *tensors: call(recur, name, list(tensors)), inputs)


def test_a_gradient_of_the_hidden_state_alone() -> None:
    """As it is used: nothing comes from outside to the cell states."""
    inputs = arguments("peephole")
    with uncompiled():
        found, expected = (
            [*torch.autograd.grad(call(run, "peephole", inputs)[0].sum(), inputs)] for run in (recur, unrolled)
        )
    torch.testing.assert_close(found, expected)


def test_without_gradients_nothing_is_kept() -> None:
    inputs = arguments("peephole")
    with uncompiled():
        expected = call(recur, "peephole", inputs)
        with torch.no_grad():
            found = call(recur, "peephole", inputs)
    torch.testing.assert_close(found, expected)
    assert not found[0].requires_grad


def test_a_cell_of_ones_own() -> None:
    """A minimal gated unit, which the library has not: its step is all there is to write."""

    def step(x: Tensor, u: Tensor, state: State, weights: State) -> State:
        (h,) = state
        f, n = (x + u).chunk(2, dim=1)
        return (torch.lerp(h, torch.tanh(n + weights[0]), torch.sigmoid(f)),)

    chance = torch.Generator().manual_seed(1)
    inputs = [
        torch.randn(shape, generator=chance, dtype=torch.float64).requires_grad_()
        for shape in ((T, B, 2 * H), (2 * H, H), (B, H), (H,))
    ]

    def run(engine: Callable[..., State]) -> list[Tensor]:
        (h,) = engine(step, inputs[0], inputs[1], (inputs[2],), (inputs[3],))
        return [h, *torch.autograd.grad(h.square().sum(), inputs)]

    with uncompiled():
        torch.testing.assert_close(run(recur), run(unrolled))


def test_x_and_u_share_their_gradient_where_a_step_only_adds_them() -> None:
    shared = {
        name: recurrence._shares_gradient(step, g * H, (H,) * s, tuple(torch.Size([n * H]) for n in sizes))
        for name, (step, g, s, sizes) in STEPS.items()
    }
    assert shared == {name: name in ("rnn", "rnn_relu", "lstm", "peephole") for name in STEPS}


def test_without_a_compiler_it_works_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = arguments("peephole")
    monkeypatch.setattr(recurrence, "_forms", {})
    recurrence._say_once.cache_clear()
    try:
        with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
            with pytest.warns(
                UserWarning, match=r"uncompiled, several times slower: no C\+\+ compiler was found"
            ) as said:
                found = results(recur, "peephole", inputs)
            assert len(said) == 1
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                results(
                    recur,
                    "peephole",
                    [value[:, :2] if value.ndim == 3 else value for value in inputs[:2]]
                    + [value[:2] if value.ndim == 2 else value for value in inputs[2:]],
                )
        torch.testing.assert_close(found, results(unrolled, "peephole", inputs))
    finally:
        recurrence._say_once.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(missing_compiler() is not None, reason="needs a C++ compiler")
@every_step
def test_compiled_steps_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "kernel_for", lambda *_: None)
    inputs = arguments(name, torch.float32)
    before = len(recurrence._forms)
    found = results(recur, name, inputs)
    assert len(recurrence._forms) == before + 2, "forward and backward were not compiled"
    torch.testing.assert_close(found, results(unrolled, name, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(missing_compiler() is not None, reason="needs a C++ compiler")
@pytest.mark.parametrize(
    "first", [lambda h: h.t().contiguous().t(), lambda h: h[:1].expand(B, H)], ids=["transposed", "expanded"]
)
def test_a_first_state_in_any_layout_is_compiled(first: Callable[[Tensor], Tensor]) -> None:
    x, u_weight, h = arguments("rnn", torch.float32)
    inputs = [x, u_weight, first(h)]
    torch.testing.assert_close(results(recur, "rnn", inputs), results(unrolled, "rnn", inputs), rtol=1e-5, atol=1e-5)


def test_products_are_kept_for_gradients_only(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = arguments("peephole")
    saved = []
    with (
        uncompiled(),
        torch.autograd.graph.saved_tensors_hooks(lambda value: saved.append(value) or value, lambda v: v),
    ):
        call(recur, "peephole", inputs)
        with_gradients = len(saved)
        saved.clear()
        call(recur, "peephole", [value.detach() for value in inputs])
    assert with_gradients >= T
    assert not saved
