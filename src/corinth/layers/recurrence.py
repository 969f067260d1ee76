"""One engine for every recurrent cell that torch has no fused kernel for: a cell is a step function.

A step takes what the products with the weights gave and the state before, and gives the state behind, h first:

    step(x, u, state, weights) -> state

x (B, G) is this step's part of the input product W x_t + b, u (B, G) the recurrent product U h_{t-1}, `state` a tuple
of (B, H), `weights` a tuple of vectors such as peephole weights, which it uses entry by entry. It is made of torch's
operators and treats each row of the batch alone.

The input products of all steps are one matrix product, made by the caller. `recur` runs over time: one product with U
and one step each. Its gradient goes back the same way, one product and the step's own gradient each, and the gradient
of U is one product over all steps in the end. Steps and their gradients are compiled into one loop over memory where
the machine has a C++ compiler; for LSTMs in single precision all of time is one kernel there (cells.py).

Shapes: T steps, B batch, G rows of the weights (so many for each unit as the cell has gates), H hidden units.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from corinth.layers import cells, native, onednn
from corinth.layers.compiler import compiles, missing_compiler

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State, State], State]  # x, u, state, weights to the new state; defined once
ONEDNN_ROWS = 16  # of a product, from which its routine is the faster one
ROWS_AT_ONCE = 512  # of a sum over rows: more of them leave the cache; fewer are no work worth laying weights out for
MOST_COMPILED = 64  # forms (cell, sizes, type) at a time; each costs seconds


def recur(
    step: Step, x: Tensor, u_weight: Tensor, state: State, weights: State = (), *, mask: Tensor | None = None
) -> State:
    """All states (T, B, H) of the cell over the input products x (T, B, G), h first.

    `u_weight` (G, H) is U, `state` the one to begin with. `mask` (B, H) multiplies h before each product with U, the
    same at every step (Gal & Ghahramani 2016, 1512.05287, equation 7). Everything is computed in the type of U, also
    under autocast: what a state adds up over many steps would be lost in a shorter one. Gradients reach x, U, the state
    and the weights; the mask, and what a step takes from elsewhere, get none.
    """
    dtype = u_weight.dtype
    x, mask = x.to(dtype), None if mask is None else mask.detach().to(dtype).contiguous()
    state, weights = (tuple(value.to(dtype) for value in values) for values in (state, weights))
    if torch.compiler.is_exporting():
        return _scanned(step, x, u_weight, state, weights, mask)
    if x.is_meta or torch.jit.is_tracing() or torch._C._are_functorch_transforms_active():
        return unrolled(step, x, u_weight, state, weights, mask=mask)
    return _run(step, x, u_weight, state, weights, mask)


@torch.compiler.disable  # it compiles its own parts; torch.compile leaves it as it is
def _run(step: Step, x: Tensor, u_weight: Tensor, state: State, weights: State, mask: Tensor | None) -> State:
    keeps = torch.is_grad_enabled() and any(value.requires_grad for value in (x, u_weight, *state, *weights))
    with torch.autocast(x.device.type, enabled=False):
        return _Recurrence.apply(step, mask, len(state), keeps, x.contiguous(), u_weight.contiguous(), *state, *weights)


def unrolled(
    step: Step, x: Tensor, u_weight: Tensor, state: State, weights: State = (), *, mask: Tensor | None = None
) -> State:
    """`recur` as it reads, differentiated by autograd: for tracing, and to test the engine against."""
    history: list[State] = []
    for x_t in x:
        h = state[0] if mask is None else state[0] * mask
        state = step(x_t, h @ u_weight.T, state, weights)
        history.append(state)
    return tuple(torch.stack(states) for states in zip(*history))


def product(weight: Tensor, rows: int, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """`h (rows, K) -> h @ weight.T + bias` for a weight (N, K) that stays the same: laid out once for many products.

    In single precision oneDNN's routine takes half as long as the library behind torch's own products on some
    processors, once there are enough rows.
    """
    if rows >= ONEDNN_ROWS and onednn.takes(weight):
        packed = torch.ops.mkldnn._reorder_linear_weight.default(weight.contiguous(), rows)
        linear = torch.ops.mkldnn._linear_pointwise.default
        return lambda h: linear(h, packed, bias, "none", [], "")
    transposed = weight.t().contiguous()
    return lambda h: torch.mm(h, transposed) if bias is None else torch.addmm(bias, h, transposed)


def sum_of_products(grad: Tensor, x: Tensor) -> Tensor:
    """grad (R, N) and x (R, K) to grad.T @ x (N, K), the gradient of a weight, for many rows R."""
    if len(x) < ONEDNN_ROWS or not onednn.takes(x):
        return grad.t() @ x
    if native.is_plain() and native.are_single(grad, x) and native.is_there():
        return cells.sum_of_products(grad, x)
    linear = torch.ops.mkldnn._linear_pointwise.default
    total: Any = None
    for some_grad, some_x in zip(grad.split(ROWS_AT_ONCE), x.split(ROWS_AT_ONCE)):
        part = linear(some_grad.t(), some_x.t(), None, "none", [], "")
        total = part if total is None else total.add_(part)
    return total


def input_products(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """W x_t + b of all steps: x (T, B, I) to (T, B, G), as `F.linear`, by the faster routines of `product`."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._are_functorch_transforms_active()
    if traced or not onednn.takes(x) or torch.is_autocast_enabled("cpu") or x.shape[0] * x.shape[1] < ROWS_AT_ONCE:
        return F.linear(x, weight, bias)
    return _InputProducts.apply(x, weight, bias)


class _InputProducts(torch.autograd.Function):
    """A linear layer over all steps at once; its three products as `product` and `sum_of_products` have them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(weight, x.shape[0] * x.shape[1], bias)(x.flatten(0, 1)).view(*x.shape[:2], len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        if torch.is_grad_enabled():  # a derivative of this gradient is wanted
            by_rows = grad.flatten(0, 1).t() @ x.flatten(0, 1) if of_weight else None
            return grad @ weight if of_x else None, by_rows, grad.sum((0, 1)) if of_bias else None
        flat = grad.contiguous().flatten(0, 1)
        return (
            product(weight.t(), len(flat))(flat).view_as(x) if of_x else None,
            sum_of_products(flat, x.flatten(0, 1)) if of_weight else None,
            flat.sum(0) if of_bias else None,
        )


def _scanned(step: Step, x: Tensor, u_weight: Tensor, state: State, weights: State, mask: Tensor | None) -> State:
    """`recur` as one operator that takes any number of steps, for export.

    The operator itself, not torch's function around it: that one traces a step with its compiler first, which takes
    every size for unknown and then, depending on what it traced before, ties the batch to another size.
    """
    from torch._higher_order_ops.scan import scan_op

    count, given = len(state), [u_weight, *weights, *([] if mask is None else [mask])]
    if torch.onnx.is_in_onnx_export():  # the exporter would take the gradient along, and cannot with every cell
        x, *given = (value.detach() for value in (x, *given))
        state = tuple(value.detach() for value in state)

    def combine(*tensors: Tensor) -> list[Tensor]:
        old, (x_t, u, *rest) = tensors[:count], tensors[count:]
        h = old[0] if mask is None else old[0] * rest[-1]
        new = step(x_t, h @ u.T, old, tuple(rest[: len(weights)]))
        return [*new, *(value.clone() for value in new)]

    return tuple(scan_op(combine, list(state), [x], tuple(given))[count:])


class _Recurrence(torch.autograd.Function):
    """The loop over time and its gradient. What a step computes inside is computed again on the way back, or kept."""

    @staticmethod
    def forward(
        ctx: Any, step: Step, mask: Any, count: int, keeps: bool, x: Tensor, u_weight: Tensor, *rest: Tensor
    ) -> State:
        state, weights = rest[:count], rest[count:]
        steps = len(x)
        states = [value.new_empty((steps + 1, *value.shape)) for value in state]
        for all_steps, first in zip(states, state):
            all_steps[0] = first
        ctx.step, ctx.count, ctx.width = step, count, len(weights)
        ctx.kernel = cells.kernel_for(step, x, u_weight, states, weights, mask)
        if ctx.kernel is not None:
            kept = cells.forward(ctx.kernel, x, u_weight, weights, mask, *states, keeps=keeps)
        else:
            kept = _forward_loop(step, x, u_weight, states, weights, mask, keeps=keeps)
        ctx.save_for_backward(mask, x, u_weight, *states, *rest, *kept)
        ctx.set_materialize_grads(False)
        return tuple(all_steps[1:] for all_steps in states)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        saved = ctx.saved_tensors  # once: each time they are unpacked
        with torch.autocast(saved[1].device.type, enabled=False):
            return _Recurrence._backward(ctx, saved, grads)

    @staticmethod
    def _backward(ctx: Any, saved: Sequence[Any], grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        mask, x, u_weight, *rest = saved
        given = 2 * ctx.count + ctx.width
        rest, kept = rest[:given], rest[given:]
        states, begun, weights = rest[: ctx.count], rest[ctx.count : 2 * ctx.count], tuple(rest[2 * ctx.count :])
        plain = all(native.is_for_kernels(grad, states[0]) for grad in grads if grad is not None)
        suits = ctx.kernel is None or (plain and native.are_single(*(value for value in saved if value is not None)))
        if torch.is_grad_enabled() or not suits:  # a derivative of this gradient is wanted, or several of them at once
            return _Recurrence._differentiable(ctx, mask, x, u_weight, begun, weights, grads)
        of_u = ctx.needs_input_grad[5]
        if ctx.kernel is not None:
            found = cells.backward(ctx.kernel, x, u_weight, weights, mask, *states, kept, grads, of_u_weight=of_u)
        else:
            found = _backward_loop(ctx.step, x, u_weight, states, weights, mask, kept, grads, of_u_weight=of_u)
        of_x, of_weight, of_state, of_weights = found
        return None, None, None, None, of_x, of_weight, *of_state, *of_weights

    @staticmethod
    def _differentiable(
        ctx: Any, mask: Any, x: Tensor, u_weight: Tensor, begun: Sequence[Tensor], weights: State, grads: Any
    ) -> tuple[Any, ...]:
        """The same by autograd, which can be differentiated again."""
        inputs = [x, u_weight, *begun, *weights]
        wanted = [n for n, needs in enumerate(ctx.needs_input_grad[4:]) if needs]
        with torch.enable_grad():
            outputs = unrolled(ctx.step, x, u_weight, tuple(begun), weights, mask=mask)
        kept = [(output, grad) for output, grad in zip(outputs, grads) if grad is not None]
        found = torch.autograd.grad(
            [output for output, _ in kept],
            [inputs[n] for n in wanted],
            [grad for _, grad in kept],
            create_graph=torch.is_grad_enabled(),
            allow_unused=True,
        )
        by_place = dict(zip(wanted, found))
        return (None, None, None, None, *(by_place.get(n) for n in range(len(inputs))))


def _forward_loop(
    step: Step,
    x: Tensor,
    u_weight: Tensor,
    states: Sequence[Tensor],
    weights: State,
    mask: Tensor | None,
    *,
    keeps: bool,
) -> list[Tensor]:
    """All states, into `states` (T + 1, B, H) behind the first ones there; with `keeps` the products of all steps."""
    by_step = list(zip(*(all_steps.unbind() for all_steps in states)))
    old = by_step[0]
    run, times_u, products = _forward_step(step, x[0], old, weights), product(u_weight, len(old[0])), []
    for x_t, new in zip(x.unbind(), by_step[1:]):
        u_t = times_u(old[0] if mask is None else old[0] * mask)
        run(x_t, u_t, *old, *weights, *new)
        old = new
        if keeps:
            products.append(u_t)
    return products


def _backward_loop(
    step: Step,
    x: Tensor,
    u_weight: Tensor,
    states: Sequence[Tensor],
    weights: State,
    mask: Tensor | None,
    products: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    *,
    of_u_weight: bool,
) -> tuple[Tensor, Tensor | None, list[Tensor], list[Tensor]]:
    """From the gradients of all states to those of x, of U if it is wanted, of the first state, and of the weights."""
    steps = len(x)
    given = tuple(grad is not None for grad in grads)
    outer = [grad.contiguous().unbind() for grad in grads if grad is not None]
    first = tuple(s[0] for s in states)
    shared, run = _backward_step(step, x[0], first, weights, given)
    of_u = torch.empty_like(x)
    of_x = of_u if shared else torch.empty_like(x)
    carried = [torch.zeros_like(value) for value in first]
    before = [torch.empty_like(value) for value in first]
    of_weights = [weight.new_zeros(x.shape[1], *weight.shape) for weight in weights]
    times_u = product(u_weight.t(), len(first[0]))
    into = list(zip(of_u.unbind()) if shared else zip(of_u.unbind(), of_x.unbind()))
    old = list(zip(*(s.unbind() for s in states)))
    x_slices, outside = x.unbind(), list(zip(*outer)) or [()] * steps
    for t in range(steps - 1, -1, -1):
        run(x_slices[t], products[t], *old[t], *weights, *carried, *outside[t], *into[t], *before, *of_weights)
        of_h = times_u(into[t][0])
        before[0].add_(of_h if mask is None else of_h.mul_(mask))
        carried, before = before, carried
    hidden = states[0][:-1] if mask is None else states[0][:-1] * mask
    of_weight = sum_of_products(of_u.flatten(0, 1), hidden.flatten(0, 1)) if of_u_weight else None
    return of_x, of_weight, carried, [total.sum(0) for total in of_weights]


def _forward_step(step: Step, x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]) -> Callable[..., object]:
    """`run(x, u, *state, *weights, *into)`: a step whose new state goes into the last arguments."""
    count, width = len(state), len(weights)

    def plain(x: Tensor, u: Tensor, *rest: Tensor) -> None:
        new = step(x, u, rest[:count], rest[count : count + width])
        for into, value in zip(rest[count + width :], new, strict=True):
            into.copy_(value)

    return _compiled(plain, (step, "forward"), [x, x, *state, *weights, *state])


def _backward_step(
    step: Step, x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], given: tuple[bool, ...]
) -> tuple[bool, Callable[..., object]]:
    """Whether x and u have the same gradient, and
    `run(x, u, *state, *weights, *carried, *outer, *into, *before, *of_weights)`.

    The gradient of the new state is what later steps carried back plus what comes from outside, where `given`. The
    gradients of u and of x (once, if they are the same) and of the state before go into what follows, those of the
    weights are added up, row by row of the batch (B, ...).
    """
    count, width, extra = len(state), len(weights), sum(given)
    shared = _shares_gradient(step, x.shape[1], tuple(s.shape[1] for s in state), tuple(w.shape for w in weights))

    def plain(x: Tensor, u: Tensor, *rest: Tensor) -> None:
        old, rest = rest[:count], rest[count:]
        vectors, rest = rest[:width], rest[width:]
        carried, rest = rest[:count], rest[count:]
        outside, rest = iter(rest[:extra]), rest[extra:]
        totals = [grad + next(outside) if known else grad for grad, known in zip(carried, given)]
        rows = tuple(vector.expand(len(x), *vector.shape) for vector in vectors)

        def by_row(x: Tensor, u: Tensor, old: State, rows: State) -> State:
            return step(x, u, old, rows)

        _, pull, *_ = torch.func.vjp(by_row, x, u, old, rows)
        of_x, of_u, of_old, of_rows = pull(tuple(totals))
        grads = [of_u] if shared else [of_u, of_x]
        replaced, added = rest[: len(rest) - width], rest[len(rest) - width :]
        for into, value in zip(replaced, [*grads, *of_old], strict=True):
            into.copy_(value)
        for into, value in zip(added, of_rows, strict=True):
            into.add_(value)

    grads = [x] if shared else [x, x]
    outer = [s for s, known in zip(state, given) if known]
    by_row = [w.new_empty(len(x), *w.shape) for w in weights]
    return shared, _compiled(
        plain, (step, "backward", given), [x, x, *state, *weights, *state, *outer, *grads, *state, *by_row]
    )


@functools.lru_cache(maxsize=256)
def _shares_gradient(step: Step, gates: int, hidden: tuple[int, ...], weights: tuple[torch.Size, ...]) -> bool:
    """Whether x and u always have the same gradient, as they do where a step only uses x + u: seen in its graph."""

    def pulled(x: Tensor, u: Tensor, state: State, vectors: State, grads: State) -> State:
        _, pull, *_ = torch.func.vjp(lambda x, u: step(x, u, state, vectors), x, u)
        return pull(grads)

    state = tuple(torch.zeros(2, width) for width in hidden)
    x, vectors = torch.zeros(2, gates), tuple(torch.zeros(shape) for shape in weights)
    graph = make_fx(pulled)(x, x.clone(), state, vectors, tuple(value.clone() for value in state))
    outputs: Any = graph.graph.output_node().args[0]
    return outputs[0] is outputs[1]


_forms: dict[tuple[Any, ...], Callable[..., object]] = {}


def _compiled(plain: Callable[..., None], kind: tuple[Any, ...], example: Sequence[Tensor]) -> Callable[..., object]:
    """`plain` as machine code for tensors like these; itself where that is not wanted or not possible."""
    if not compiles() or example[0].device.type != "cpu" or not example[0].is_floating_point():
        return plain
    key = (*kind, torch.get_num_threads(), *((value.shape, value.stride(), value.dtype) for value in example))
    if key not in _forms:
        if len(_forms) >= MOST_COMPILED:  # the oldest goes
            del _forms[next(iter(_forms))]
        _forms[key] = _compile(plain, example) or plain
    return _forms[key]


def _compile(plain: Callable[..., None], example: Sequence[Tensor]) -> Callable[..., object] | None:
    """By torch's compiler for graphs, without the checks around it that would take longer than a step."""
    if (reason := missing_compiler()) is not None:
        _say_once(reason)
        return None

    def functional(*tensors: Tensor) -> tuple[()]:
        torch.func.functionalize(plain)(*tensors)
        return ()

    fakes = [torch.empty_strided(value.shape, value.stride(), dtype=value.dtype) for value in example]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)  # torch's own, about its own code
            from torch._inductor.compile_fx import compile_fx_inner
            from torch._inductor.decomposition import select_decomp_table

            table = {**select_decomp_table(), torch.ops.aten.tanh.default: _tanh}
            graph = make_fx(functional, table, tracing_mode="fake")(*fakes)
            compiled = compile_fx_inner(graph, fakes)
    except Exception as error:  # noqa: BLE001  # a compiler may raise anything: steps run without it, and that is said
        lines = str(error).strip().splitlines() or [type(error).__name__]
        _say_once(f"torch's compiler failed ({lines[0]})")
        return None
    return lambda *tensors: compiled(list(tensors))


def _tanh(x: Tensor) -> Tensor:
    """Through the exponential, which the compiler has a faster routine for: right to 1e-7 of the largest value, 1."""
    return 2 * torch.sigmoid(2 * x) - 1


@functools.cache
def _say_once(reason: str) -> None:
    warnings.warn(f"recurrent cells run uncompiled, several times slower: {reason}", stacklevel=2)
