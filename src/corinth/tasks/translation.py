"""Translation: the next token of the target, given the source and those before it; BLEU of what is written alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection

from corinth.data.sequences.batch import NO_TAG
from corinth.layers.search import greedy
from corinth.tasks.bleu import CorpusBleu
from corinth.tasks.means import CountedMean, share_right
from corinth.tasks.task import Phase, Task, Term

Decode = Callable[[Sequence[Sequence[int]]], list[str]]  # tokens of translations to texts
MOST_TOKENS, SPARE_TOKENS = 2, 10  # of a translation: so many times the source's, and some more
VALIDATED = 1024  # sentences of the validation part that are translated after each epoch, at most
LOGITS = 2**25  # of a batch that is measured, at once: of long sentences all together would not fit the memory


def limits(lengths: Tensor) -> Tensor:
    """The most tokens of the translations of sources with so many (B,)."""
    return MOST_TOKENS * lengths + SPARE_TOKENS


@dataclass(frozen=True)
class TranslationPredictions:
    """`tokens` of each sentence, by greedy search."""

    tokens: list[list[int]]


class Translation(Task):
    """`batch.inputs` are `corinth.data.Sequences`, `batch.targets` tokens int64 (B, T), the last of each sentence that
    of its end, -100 behind.

    The loss is the cross-entropy, a mean over the tokens of the targets. `begin` and `end` are the tokens with which
    targets begin and end, `decode` makes texts of tokens and `bleu_tokenizer` is sacrebleu's.
    """

    name = "translation"

    def __init__(
        self,
        model: nn.Module,
        *,
        begin: int,
        end: int,
        decode: Decode,
        bleu_tokenizer: str = "13a",
        label_smoothing: float = 0.0,
    ) -> None:
        self.nets = nn.ModuleDict({"model": model})
        self.phases = {"train": Phase(nets=("model",))}
        self.begin, self.end, self.decode = begin, end, decode
        self.bleu_tokenizer, self.label_smoothing = bleu_tokenizer, label_smoothing

    def losses(self, phase: str, batch: Any, rng: torch.Generator) -> dict[str, Term]:
        """`loss`, and `accuracy` of the tokens, watched only."""
        logits, targets = self._logits(batch)
        count = int((targets != NO_TAG).sum())
        loss = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="sum") / count
        right = share_right(logits, targets)
        return {"loss": Term(loss, count=count), "accuracy": Term(right, weight=0.0, count=count)}

    def _logits(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits (N, V) of all steps, padded ones too, and their targets (N,)."""
        before, targets = self._tokens(batch)
        logits = self.nets["model"](batch.inputs.values, batch.inputs.lengths, before)
        return logits.flatten(0, 1).float(), targets.flatten()

    def _tokens(self, batch: Any) -> tuple[Tensor, Tensor]:
        """What the decoder reads, (B, T), and what shall follow each."""
        targets = batch.targets[:, : int((batch.targets != NO_TAG).sum(1).max())]
        before = torch.cat((torch.full_like(targets[:, :1], self.begin), targets[:, :-1]), dim=1)
        return before.masked_fill(before == NO_TAG, self.end), targets

    def metrics(self, validated: int = VALIDATED) -> MetricCollection:
        """`loss` (plain cross-entropy) and `accuracy` over tokens; `bleu` of the first `validated` sentences by greedy
        search, where these are any."""
        named: Any = {"loss": CountedMean(), "accuracy": CountedMean()}
        if validated:
            named["bleu"] = CorpusBleu(self.bleu_tokenizer, most=validated)
        return MetricCollection(named, compute_groups=False)

    def measure(self, metrics: MetricCollection, batch: Any) -> None:
        before, targets = self._tokens(batch)
        model, found, real = cast(Any, self.nets["model"]), cast(Any, metrics), targets != NO_TAG
        features = model.forward_features(batch.inputs.values, batch.inputs.lengths, before)[0]
        at_once = max(1, LOGITS // model.head.out_features)
        for some, true in zip(features[real].split(at_once), targets[real].split(at_once)):
            logits = model.head(some).float()
            found["loss"].update(F.cross_entropy(logits, true), len(true))
            found["accuracy"].update(share_right(logits, true), len(true))
        if "bleu" in found and (left := found["bleu"].left) > 0:
            values, lengths = batch.inputs.values[:left], batch.inputs.lengths[:left]
            texts = self.decode(self._greedy(values, lengths))
            truth = [[token for token in row if token != NO_TAG] for row in batch.targets[:left].tolist()]
            found["bleu"].update(texts, self.decode(truth))

    def predict(self, batch: Any) -> TranslationPredictions:
        return TranslationPredictions(self._greedy(batch.inputs.values, batch.inputs.lengths))

    @torch.no_grad()
    def _greedy(self, values: Tensor, lengths: Tensor) -> list[list[int]]:
        model: Any = self.nets["model"]
        most = limits(lengths).to(values.device)
        return greedy(model.decode_step, model.encode(values, lengths), most, begin=self.begin, end=self.end)

    def random_targets(self, size: int, shape: tuple[int, ...]) -> Tensor:
        return torch.full((size, *shape[:1]), self.end, dtype=torch.int64)

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """By BLEU, then by loss."""
        return metrics["bleu"], -metrics["loss"]
