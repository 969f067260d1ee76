"""Tasks of texts that are written about something: the next token, given that something and the tokens before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection

from corinth.data.sequences.batch import NO_TAG
from corinth.layers.search import Step, greedy
from corinth.tasks.bleu import CorpusBleu, CorpusChrf
from corinth.tasks.means import CountedMean, share_right
from corinth.tasks.task import Phase, Task, Term

Decode = Callable[[Sequence[Sequence[int]]], list[str]]  # tokens of texts to texts
VALIDATED = 1024  # pictures of the validation part that captions are written for after each epoch, at most
LOGITS = 2**25  # of a batch that is measured, at once


@dataclass(frozen=True)
class WrittenTexts:
    """`tokens` of each text, by greedy search."""

    tokens: list[list[int]]


def speaking(step: Step, *, silent: Sequence[int], begin: int, end: int) -> Step:
    """A decoder's step that never takes the tokens `silent`, nor the end behind the beginning: a text has words."""

    def spoken(state: Any, token: Tensor) -> tuple[Tensor, Any]:
        logits, state = step(state, token)
        logits[:, list(silent)] = -torch.inf
        logits[:, end].masked_fill_(token == begin, -torch.inf)
        return logits, state

    return spoken


class Writing(Task):
    """`batch.inputs` are what the network writes about, `batch.targets` tokens int64 (B, T), or (B, R, T) of R texts
    each, the last of every text that of its end, -100 behind and where there are fewer texts.

    The loss is the cross-entropy, a mean over all tokens. `begin` and `end` are the tokens with which texts begin and
    end, `silent` those that are never written; no more than `limit` tokens are.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        begin: int,
        end: int,
        silent: Sequence[int] = (),
        limit: int = 64,
        label_smoothing: float = 0.0,
    ) -> None:
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.begin, self.end, self.silent, self.limit = begin, end, tuple(silent), limit
        self.label_smoothing = label_smoothing

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`, and `accuracy` of the tokens, watched only."""
        rows, before, targets = self._tokens(batch)
        logits = self.nets["model"](batch.inputs, before, rows).flatten(0, 1).float()
        targets = targets.flatten()
        count = int((targets != NO_TAG).sum())
        loss = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="sum") / count
        right = share_right(logits, targets)
        return {"loss": Term(loss, count=count), "accuracy": Term(right, weight=0.0, count=count)}

    def _tokens(self, batch: Any) -> tuple[Tensor | None, Tensor, Tensor]:
        """Which input each text is about, (N,), none where each has one; what the decoder reads, (N, T), and what shall
        follow each."""
        targets, rows = batch.targets, None
        if targets.ndim == 3:
            inputs, texts = (targets[:, :, 0] != NO_TAG).nonzero(as_tuple=True)
            targets, rows = targets[inputs, texts], inputs if targets.shape[1] > 1 else None
        targets = targets[:, : int((targets != NO_TAG).sum(1).max())]
        before = torch.cat((torch.full_like(targets[:, :1], self.begin), targets[:, :-1]), dim=1)
        return rows, before.masked_fill(before == NO_TAG, self.end), targets

    def metrics(self) -> MetricCollection:
        """`loss` (plain cross-entropy) and `accuracy` over tokens."""
        return MetricCollection({"loss": CountedMean(), "accuracy": CountedMean()}, compute_groups=False)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        found = cast(Any, metrics)
        for nats, right in self._scored(batch):
            found["loss"].update(nats.mean(), len(nats))
            found["accuracy"].update(right.float().mean(), len(nats))

    def _scored(self, batch: Any) -> list[tuple[Tensor, Tensor]]:
        """Nats of every token, and whether it was the likeliest, in pieces (M,)."""
        rows, before, targets = self._tokens(batch)
        model, real = cast(Any, self.nets["model"]), targets != NO_TAG
        features, head = model.forward_features(batch.inputs, before, rows), model.decoder.head
        at_once = max(1, LOGITS // head.out_features)
        found = []
        for some, true in zip(features[real].split(at_once), targets[real].split(at_once)):
            logits = head(some).float()
            own = logits.gather(1, true[:, None])[:, 0]
            found.append((logits.logsumexp(1) - own, own == logits.amax(1)))
        return found

    def nats(self, batch: Any) -> list[Tensor]:
        """-ln of the probability of every token of each text, (T,) each; of a batch with one text an input."""
        lengths = (batch.targets.flatten(0, -2) != NO_TAG).sum(1).tolist()
        return list(torch.cat([nats for nats, _ in self._scored(batch)]).split(lengths))

    def predict(self, batch: Any) -> WrittenTexts:
        return WrittenTexts(self._greedy(batch.inputs))

    @torch.no_grad()
    def _greedy(self, inputs: Tensor) -> list[list[int]]:
        model: Any = self.nets["model"]
        limits = torch.full((len(inputs),), self.limit, device=inputs.device)
        ends = {"begin": self.begin, "end": self.end}
        step = speaking(model.decode_step, silent=self.silent, **ends)
        return greedy(step, model.encode(inputs), limits, **ends)

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        return torch.full((size, self.limit), self.end, dtype=torch.int64)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """By loss."""
        return (-metrics["loss"],)


class TextFromLabel(Writing):
    """Texts of classes: `batch.inputs` are class numbers int64 (B,)."""

    name = "text-from-label"


class Captioning(Writing):
    """Captions of pictures, `batch.inputs` float (B, C, H, W), at `batch.index` of the data, whose `references` are all
    captions of each picture as people wrote them. `decode` makes texts of tokens, `bleu_tokenizer` is sacrebleu's;
    capitals do not count."""

    name = "captioning"

    def __init__(
        self,
        model: nn.Module,
        *,
        decode: Decode,
        references: Sequence[Sequence[str]],
        bleu_tokenizer: str = "13a",
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.decode, self.references, self.bleu_tokenizer = decode, references, bleu_tokenizer

    def metrics(self, validated: int = VALIDATED) -> MetricCollection:
        """`loss` and `accuracy`; of captions of the first `validated` pictures by greedy search, where these are any,
        `chrf` and `bleu`, of all of them together."""
        found = super().metrics()
        if validated:
            found["chrf"] = CorpusChrf(lowercase=True)
            found["bleu"] = CorpusBleu(self.bleu_tokenizer, most=validated, lowercase=True)
        return found

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        super().measure(metrics, batch)
        found = cast(Any, metrics)
        if "bleu" in found and (left := found["bleu"].left) > 0:
            texts = self.decode(self._greedy(batch.inputs[:left]))
            truth = [self.references[position] for position in batch.index[:left].tolist()]
            for name in ("chrf", "bleu"):
                found[name].update(texts, truth)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """By chrF, as BLEU is nothing before four words in a row are right; then by loss."""
        return metrics["chrf"], -metrics["loss"]
