"""Language modelling: at every place of a text a probability for each token that could come next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from corinth.data.sequences.batch import NO_TAG
from corinth.data.sequences.windows import Windows
from corinth.tasks.means import MeanOver
from corinth.tasks.task import Phase, Task, Term

State = tuple[Tensor, ...]  # each (L, B, H)


@dataclass(frozen=True)
class NextTokens:
    """`log_probs` (B, T, V) float32 of the token behind each one, in nats."""

    log_probs: Tensor


class LanguageModeling(Task):
    """`batch.inputs` are `corinth.data` Windows, `batch.targets` the tokens behind them, int64 (B, T), -100 where none
    is scored. The loss is the mean cross-entropy of the targets, in nats a token.

    The network's state at the end of a window is where the next window of the same stream begins, without its gradient.
    Training and validation have states of their own, so that neither disturbs the other.
    """

    name = "language-modeling"

    def __init__(self, model: nn.Module) -> None:
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.carried: dict[bool, State] = {}  # of training and of validation: (L, streams, H) each

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`, and `nats_per_character`, watched only."""
        total, count, chars = self._sums(batch, training=True)
        detached = total.detach()
        return {
            "loss": Term(total / max(count, 1), count=count),
            "nats_per_character": Term(detached / max(chars, 1), weight=0.0, count=chars),
        }

    def _sums(self, batch: Any, *, training: bool) -> tuple[Tensor, int, int]:
        """The loss summed over the scored targets, their number, and that of the characters they stand for."""
        logits = self._logits(batch.inputs, training=training)
        targets = batch.targets
        total = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=NO_TAG, reduction="sum")
        scored = targets.numel() if training else int((targets != NO_TAG).sum())  # in training all are
        return total, scored, int(batch.inputs.chars.sum()) if isinstance(batch.inputs, Windows) else scored

    def _logits(self, inputs: Any, *, training: bool) -> Tensor:
        model: Any = self.nets["model"]
        if not isinstance(inputs, Windows):  # made up, to time a step
            return model(inputs.values)
        logits, state = model(inputs.values, state=self._before(inputs, training), with_state=True)
        self._keep(inputs, state if isinstance(state, tuple) else (state,), training)
        return logits

    def _before(self, inputs: Windows, training: bool) -> Any:
        """The state that each row goes on from; none where all begin."""
        known = _wide(self.carried.get(training, ()), inputs)
        if not known or bool(inputs.fresh.all()):
            return None
        device = inputs.values.device
        begun = inputs.fresh.to(device)[None, :, None]
        states = tuple(values[:, inputs.streams.to(device)].masked_fill(begun, 0) for values in known)
        return states if len(states) > 1 else states[0]

    def _keep(self, inputs: Windows, state: State, training: bool) -> None:
        known = self.carried.get(training) or tuple(
            value.new_zeros(len(value), 0, value.shape[2]).float() for value in state
        )
        self.carried[training] = known = _wide(known, inputs)
        streams = inputs.streams.to(state[0].device)
        for values, new in zip(known, state):
            values[:, streams] = new.detach().float()

    def metrics(self) -> MetricCollection:
        """`loss` in nats a token and its exponential, the `perplexity`; nats and bits a character."""
        named: dict[str, Metric | MetricCollection] = {
            "loss": MeanOver(),
            "perplexity": Perplexity(),
            "nats_per_character": MeanOver(),
            "bits_per_character": Bits(),
        }
        return MetricCollection(named, compute_groups=False)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        total, count, chars = self._sums(batch, training=False)
        found: Any = metrics
        for name in ("loss", "perplexity"):
            found[name].update(total, count)
        for name in ("nats_per_character", "bits_per_character"):
            found[name].update(total, chars)

    def predict(self, batch: Any) -> NextTokens:
        return NextTokens(self._logits(batch.inputs, training=False).float().log_softmax(dim=2))

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(size, *shape[:1], dtype=torch.int64)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        return (-metrics["loss"],)

    def own_state(self) -> dict[str, Tensor]:
        """Where the training's streams are in the text, as the network remembers it."""
        return {str(number): values for number, values in enumerate(self.carried.get(True, ()))}

    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        device = next(self.nets.parameters()).device
        if state:
            self.carried[True] = tuple(state[str(number)].to(device) for number in range(len(state)))


def _wide(known: State, inputs: Windows) -> State:
    """States of as many streams as there are: of those that are new, zeros."""
    missing = int(inputs.streams.max()) + 1 - known[0].shape[1] if known else 0
    return tuple(F.pad(values, (0, 0, 0, missing)) for values in known) if missing > 0 else known


class Perplexity(MeanOver):
    """The exponential of a mean in nats: among how many equally likely tokens it is like choosing."""

    def compute(self) -> Tensor:
        return super().compute().exp()


class Bits(MeanOver):
    """A mean of nats, in bits."""

    def compute(self) -> Tensor:
        return super().compute() / torch.tensor(2.0).log()
