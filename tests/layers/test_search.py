"""Greedy and beam search against all sequences that there are."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from corinth.layers.search import beam_search, greedy, length_penalty
from corinth.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig

BEGIN, END, VOCABULARY = 0, 1, 4


@dataclass(frozen=True)
class Prefixes:
    """The tokens so far, (B, t), and which of several languages each row speaks."""

    tokens: Tensor
    language: Tensor

    def select(self, rows: Tensor) -> "Prefixes":
        return Prefixes(self.tokens[rows], self.language[rows])


def step(state: Prefixes, token: Tensor) -> tuple[Tensor, Prefixes]:
    """Logits that depend on everything before."""
    tokens = torch.cat((state.tokens, token[:, None]), dim=1)
    rows = [
        torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(hash((int(language), *row)) % 2**31)) * 1.5
        for row, language in zip(tokens.tolist(), state.language.tolist())
    ]
    return torch.stack(rows), Prefixes(tokens, state.language)


def start(languages: int) -> Prefixes:
    return Prefixes(torch.empty(languages, 0, dtype=torch.int64), torch.arange(languages))


def everything(language: int, limit: int, alpha: float) -> dict[tuple[int, ...], float]:
    """All sequences that end with END, or have the limit's length, and their scores."""
    found = {}
    for length in range(1, limit + 1):
        for words in itertools.product(range(VOCABULARY), repeat=length):
            open_until = words.index(END) + 1 if END in words else length
            if BEGIN in words or open_until < length or (length < limit and words[-1] != END):
                continue
            state: Any = Prefixes(torch.empty(1, 0, dtype=torch.int64), torch.tensor([language]))
            total, before = 0.0, BEGIN
            for word in words:
                logits, state = step(state, torch.tensor([before]))
                logits[0, BEGIN] = -math.inf
                total += float(logits.log_softmax(1)[0, word])
                before = word
            found[words] = total / length_penalty(length, alpha)
    return found


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_wide_beam_finds_the_best_of_all_sequences(alpha: float) -> None:
    limits = torch.tensor([4, 3, 4, 1, 4])
    tokens, scores = beam_search(step, start(5), limits, 64, begin=BEGIN, end=END, alpha=alpha)
    for language, (found, score) in enumerate(zip(tokens, scores)):
        known = everything(language, int(limits[language]), alpha)
        best = max(known, key=known.__getitem__)
        assert tuple(found) == best
        assert score == pytest.approx(known[best], abs=1e-5)


def test_a_wider_beam_is_no_worse_on_average_and_each_is_scored_right() -> None:
    limits = torch.full((12,), 5)
    means = []
    for beam in (1, 4, 64):
        tokens, scores = beam_search(step, start(12), limits, beam, begin=BEGIN, end=END)
        means.append(sum(scores) / 12)
        for language in (0, 7):
            assert scores[language] == pytest.approx(everything(language, 5, 0.6)[tuple(tokens[language])], abs=1e-5)
    assert means[0] < means[1] <= means[2] + 1e-6


def test_the_length_penalty_is_that_of_wu_and_others() -> None:
    assert length_penalty(1, 0.6) == 1.0
    assert length_penalty(13, 0.6) == pytest.approx(3**0.6)
    assert length_penalty(13, 0.0) == 1.0


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_a_beam_of_one_is_greedy_search(alpha: float) -> None:
    limits = torch.tensor([6, 2, 6, 6, 1, 6])
    by_beam, _ = beam_search(step, start(6), limits, 1, begin=BEGIN, end=END, alpha=alpha)
    by_greed = greedy(step, start(6), limits, begin=BEGIN, end=END)
    assert by_beam == by_greed
    assert any(row[-1] == END for row in by_greed)
    assert all(len(row) <= limit and BEGIN not in row for row, limit in zip(by_greed, limits.tolist()))


@pytest.mark.parametrize("attention", ["none", "additive", "general"])
def test_a_batch_is_searched_as_its_sentences_are(attention: Any) -> None:
    torch.manual_seed(3)
    sizes: dict[str, Any] = {"source_vocab_size": 9, "target_vocab_size": 9, "embed_dim": 8, "hidden_size": 8}
    model = Seq2Seq(Seq2SeqConfig(**sizes, attention=attention, bidirectional=attention != "none")).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3)
    source, lengths = torch.randint(9, (4, 6)), torch.tensor([6, 2, 4, 1])
    limits = 2 * lengths + 3
    with torch.inference_mode():
        together, scores = beam_search(model.decode_step, model.encode(source, lengths), limits, 3, begin=7, end=8)
        for row in range(4):
            state = model.encode(source[row : row + 1, : lengths[row]])
            (alone,), (score,) = beam_search(model.decode_step, state, limits[row : row + 1], 3, begin=7, end=8)
            assert alone == together[row]
            assert score == pytest.approx(scores[row], abs=1e-5)
