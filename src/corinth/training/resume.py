"""All that a training needs to go on exactly where it was: captured from the loop, and put back into it."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from corinth.training import checkpoint

if TYPE_CHECKING:
    from corinth.training.loop import Loop


def capture(loop: "Loop") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and plain values; every process takes part, as each has random generators of its own."""
    tensors = {f"nets.{name}": tensor for name, tensor in loop.task.nets.state_dict().items()}
    tensors |= {f"task.{name}": tensor for name, tensor in loop.task.state().items()}
    values: dict[str, Any] = {"optimizer": {}, "random": []}
    if loop.ema is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in loop.ema.state().items()}
        values["ema_updates"] = loop.ema.updates
    for phase, optimizer in loop.optimizers.items():
        remembered, values["optimizer"][phase] = checkpoint.optimizer_state(optimizer)
        tensors |= {f"optimizer.{phase}.{name}": tensor for name, tensor in remembered.items()}
    own = {name: tensor.cpu() for name, tensor in loop.task.own_state().items()}
    for rank, states in enumerate(loop.processes.gather(own)):
        tensors |= {f"own.{rank}.{name}": tensor for name, tensor in states.items()}
    mine = checkpoint.random_state(loop.processes.device, loop.rng)
    for rank, (states, plain) in enumerate(loop.processes.gather(mine)):
        tensors |= {f"random.{rank}.{name}": tensor for name, tensor in states.items()}
        values["random"].append(plain)
    return tensors, values | {
        "step": loop.step,
        "samples": loop.samples,
        "rows": loop.rows,
        "best": loop.best,
        "stale": loop.stale,
        "lr": loop.lr,
        "ledger": loop.ledger.state(),
        "pace": loop.pace.state(),
        "loader": loop.loader.state_dict(),
    }


def restore(loop: "Loop", tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """The inverse of `capture`; on the CPU the training goes on bit for bit."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    loop.task.nets.load_state_dict(under("nets."))
    loop.task.load_state(under("task."))
    if loop.ema is not None:
        loop.ema.load_state(under("ema."), values["ema_updates"])
    for phase, optimizer in loop.optimizers.items():
        checkpoint.load_optimizer_state(optimizer, under(f"optimizer.{phase}."), values["optimizer"][phase])
    loop.step, loop.samples, loop.rows = values["step"], values["samples"], values["rows"]
    loop.best = None if values["best"] is None else tuple(values["best"])
    loop.stale, loop.lr = values["stale"], values["lr"]
    loop.ledger.load_state(values["ledger"])
    loop.pace.load_state(values["pace"])
    loop.loader.load_state_dict(values["loader"])
    rank = loop.processes.rank
    if rank < len(values["random"]):  # with more processes than before the new ones draw afresh
        loop.task.load_own_state(under(f"own.{rank}."))
        checkpoint.load_random_state(loop.processes.device, loop.rng, under(f"random.{rank}."), values["random"][rank])
