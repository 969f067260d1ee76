"""BLEU (Papineni et al. 2002) and chrF (Popovic 2015) as sacrebleu computes them, over batches and processes."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

_CHINESE, _KANA = re.compile(r"[\u4e00-\u9fff]"), re.compile(r"[\u3040-\u30ff]")
ORDERS = 4  # of n-grams
LETTERS = 6  # of chrF's


def bleu_tokenizer(references: Sequence[str]) -> str:
    """sacrebleu's tokenizer for texts like these: `zh` where most characters are Chinese, `char` for Japanese, and else
    its default, `13a`."""
    text = "".join(references[:1000])
    letters = max(1, sum(map(str.isalnum, text)))
    if len(_KANA.findall(text)) > 0.2 * letters:
        return "char"
    return "zh" if len(_CHINESE.findall(text)) > 0.5 * letters else "13a"


def in_columns(references: Sequence[str] | Sequence[Sequence[str]]) -> list[Any]:
    """References, one or several a sentence, as sacrebleu takes them: all first ones, all second ones, None where a
    sentence has fewer."""
    several = [[entry] if isinstance(entry, str) else list(entry) for entry in references]
    return [[row[i] if i < len(row) else None for row in several] for i in range(max(map(len, several)))]


class CorpusBleu(Metric):
    """A share of 1, of all sentences together. References are what their tokens say: texts as the tokenizer gives them
    back; of one sentence there may be several."""

    full_state_update = False
    sentences: Tensor
    counts: Tensor
    lengths: Tensor

    def __init__(self, tokenizer: str = "13a", most: int = 1024, *, lowercase: bool = False) -> None:
        super().__init__()
        from sacrebleu.metrics import BLEU  # takes a while, and few tasks need it

        self.most = most
        self.bleu = BLEU(tokenize=tokenizer, lowercase=lowercase)
        self.add_state("sentences", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(2, ORDERS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("lengths", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def left(self) -> int:
        """How many more sentences of this process are wanted."""
        return max(0, self.most - int(self.sentences))

    def update(self, texts: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]]) -> None:
        if not texts:
            return
        found = self.bleu.corpus_score(list(texts), in_columns(references))
        self.sentences += len(texts)
        self.counts += torch.tensor([found.counts, found.totals], dtype=torch.int64, device=self.counts.device)
        lengths = [found.sys_len, found.ref_len]
        self.lengths += torch.tensor(lengths, dtype=torch.int64, device=self.lengths.device)

    def compute(self) -> Tensor:
        (right, total), (ours, theirs) = self.counts.tolist(), self.lengths.tolist()
        return torch.tensor(self.bleu.compute_bleu(right, total, ours, theirs).score / 100)


class CorpusChrf(Metric):
    """A share of 1, of all sentences together, against one or several references each."""

    full_state_update = False
    counts: Tensor

    def __init__(self, *, lowercase: bool = False) -> None:
        super().__init__()
        from sacrebleu.metrics import CHRF  # takes a while, and few tasks need it

        self.chrf: Any = CHRF(char_order=LETTERS, lowercase=lowercase)
        self.add_state("counts", torch.zeros(3 * LETTERS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, texts: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]]) -> None:
        if not texts:
            return
        # sacrebleu has no public name for the counts that can be added up, nor for the score of their sum
        counts = torch.tensor(self.chrf._extract_corpus_statistics(list(texts), in_columns(references)))
        self.counts += counts.sum(0).to(self.counts)

    def compute(self) -> Tensor:
        return torch.tensor(self.chrf._aggregate_and_compute([self.counts.tolist()]).score / 100)
