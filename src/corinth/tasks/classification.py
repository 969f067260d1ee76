"""Classification of images, rows of tables and sequences: cross-entropy on hard or mixed labels, top-1 and top-5."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from corinth.layers.auxiliary import WithAux
from corinth.tasks.means import CrossEntropy
from corinth.tasks.task import Phase, Predictions, Task, Term, weights_of_classes


class Classification(Task):
    """One network, one phase. `batch.targets` (B,) int64 or (B, K) shares; what `batch.inputs` are says the subclass.

    `class_weights`, one a class, weigh each sample's loss; the loss stays a mean over samples, so weights whose
    mean over the training samples is 1 leave its scale alone.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: Sequence[str],
        *,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.classes = tuple(classes)
        self.label_smoothing = label_smoothing
        self.class_weights = weights_of_classes(class_weights, classes)

    @abstractmethod
    def outputs(self, batch: Any) -> Any:
        """What the network says: logits (B, K), or `WithAux` of them."""

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`; `aux1`, `aux2`, ... where the network has auxiliary heads; `top1`, watched only."""
        output = self.outputs(batch)
        targets, count = batch.targets, batch.size
        logits = output.logits if isinstance(output, WithAux) else output
        terms = {"loss": Term(self.cross_entropy(logits, targets), count=count)}
        if isinstance(output, WithAux):
            for i, aux in enumerate(output.aux, start=1):
                terms[f"aux{i}"] = Term(self.cross_entropy(aux, targets), weight=output.weight, count=count)
        hard = targets.argmax(dim=1) if targets.is_floating_point() else targets
        right = (logits.detach().argmax(dim=1) == hard).float().mean()
        return terms | {"top1": Term(right, weight=0.0, count=count)}

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over the samples of (B, K) logits against (B,) labels or (B, K) shares, with the task's weights."""
        logits = logits.float()
        if self.class_weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if self.class_weights.device != logits.device:
            self.class_weights = self.class_weights.to(logits.device)
        # torch's own weighted mean divides by the weights of the batch's labels, which undoes them in small batches
        total = F.cross_entropy(
            logits, targets, weight=self.class_weights, label_smoothing=self.label_smoothing, reduction="sum"
        )
        return total / len(logits)

    def metrics(self) -> MetricCollection:
        """`loss` (plain cross-entropy, without smoothing and weights), `top1`, `top5` (of more than five classes)."""
        k = len(self.classes)
        named: dict[str, Metric | MetricCollection] = {
            "loss": CrossEntropy(),
            "top1": MulticlassAccuracy(k, average="micro", validate_args=False),
        }
        if k > 5:
            named["top5"] = MulticlassAccuracy(k, top_k=5, average="micro", validate_args=False)
        return MetricCollection(named, compute_groups=False)

    def predict(self, batch: Any) -> Predictions:
        output = self.outputs(batch)
        logits = (output.logits if isinstance(output, WithAux) else output).float()
        return Predictions(logits=logits, probs=logits.softmax(dim=1))

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        return torch.arange(size) % len(self.classes)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        metrics.update(self.predict(batch).logits, batch.targets)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """By top-1; small validation parts tie often, so then by loss."""
        return metrics["top1"], -metrics["loss"]


class ImageClassification(Classification):
    """`batch.inputs` (B, C, H, W) float."""

    name = "image-classification"

    def outputs(self, batch: Any) -> Any:
        return self.nets["model"](batch.inputs)


class TabularClassification(Classification):
    """`batch.inputs` (B, F) float, rows as `corinth.data.rows.RowEncoding` makes them."""

    name = "tabular-classification"

    def outputs(self, batch: Any) -> Any:
        return self.nets["model"](batch.inputs)


class SequenceClassification(Classification):
    """`batch.inputs` are `corinth.data.Sequences`: values (B, T) tokens or (B, T, C) numbers, and lengths (B,)."""

    name = "sequence-classification"

    def outputs(self, batch: Any) -> Any:
        return self.nets["model"](batch.inputs.values, batch.inputs.lengths)


def balanced_weights(labels: Any, num_classes: int) -> Tensor:
    """One weight a class, inverse to how often `labels` (N,) has it, with mean 1 over the labels.

    A class that does not occur gets weight 0: no sample asks for it.
    """
    return weights_of_counts(torch.bincount(torch.as_tensor(labels), minlength=num_classes))


def weights_of_counts(counts: Tensor) -> Tensor:
    """`balanced_weights` of labels that occur `counts` (K,) times."""
    counts = counts.double()
    present = counts > 0
    weights = torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)
    return weights.float()
