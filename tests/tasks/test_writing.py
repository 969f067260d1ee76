"""Tasks that write: the loss over tokens of one or several texts, BLEU of several references, what is never written."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sacrebleu.metrics import BLEU, CHRF

from corinth.data import Batch
from corinth.data.sequences.batch import NO_TAG
from corinth.models.recurrent.label_decoder import LabelDecoder, LabelDecoderConfig
from corinth.tasks import Captioning, TextFromLabel, writing
from corinth.tasks.bleu import CorpusBleu, CorpusChrf, in_columns
from corinth.training.stepping import split

BEGIN, END, SILENT = 11, 12, (0, 1, 11)
TEXTS = [[5, 6, 7, END], [8, END], [9, 3, END]]


def decode(rows: Any) -> list[str]:
    return [" ".join(f"W{token}" for token in row if token < BEGIN) for row in rows]


TRUTH = [("W5 W6 W7", "W8 W4"), ("W9 W3",)]  # more than the tokens say


def model() -> LabelDecoder:
    torch.manual_seed(0)
    return LabelDecoder(LabelDecoderConfig(vocab_size=13, embed_dim=6, hidden_size=8, num_classes=3))


def make(**options: Any) -> TextFromLabel:
    return TextFromLabel(model(), begin=BEGIN, end=END, silent=SILENT, limit=6, **options)


def captioning(**options: Any) -> Captioning:
    """Classes stand for the pictures: all that the task knows of them is that the network takes them."""
    return Captioning(model(), begin=BEGIN, end=END, silent=SILENT, limit=6, decode=decode, references=TRUTH, **options)


def padded(rows: list[list[int]], steps: int = 4) -> torch.Tensor:
    return torch.tensor([row + [NO_TAG] * (steps - len(row)) for row in rows])


def batch() -> Batch:
    return Batch(torch.tensor([2, 0, 1]), padded(TEXTS), torch.arange(3))


def several() -> Batch:
    """Two texts of the first input, one of the second."""
    targets = torch.stack([padded(TEXTS[:2]), padded([TEXTS[2], []])])
    return Batch(torch.tensor([2, 1]), targets, torch.arange(2))


def logs(network: Any, label: int, text: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.tensor([label]), torch.tensor([[BEGIN, *text[:-1]]]))[0].log_softmax(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("made", "labels"), [(batch, (2, 0, 1)), (several, (2, 2, 1))])
def test_the_loss_is_a_mean_over_the_tokens_of_all_texts(made: Any, labels: tuple[int, ...], smoothing: float) -> None:
    task = make(label_smoothing=smoothing)
    found = task.losses("train", made(), torch.Generator())
    total, right = 0.0, 0
    for label, text in zip(labels, TEXTS):
        values = logs(task.nets["model"], label, text)
        for step, token in enumerate(text):
            total -= float((1 - smoothing) * values[step, token] + smoothing * values[step].mean())
            right += int(values[step].argmax()) == token
    assert found["loss"].count == 9
    assert found["loss"].value.item() == pytest.approx(total / 9, rel=1e-5)
    assert float(found["accuracy"].value) == pytest.approx(right / 9)
    assert found["accuracy"].weight == 0


def test_parts_of_a_batch_weigh_by_their_tokens() -> None:
    task = make()
    whole = task.losses("train", batch(), torch.Generator())["loss"]
    parts = [task.losses("train", part, torch.Generator())["loss"] for part in split(batch(), 3)]
    assert [part.count for part in parts] == [4, 2, 3]
    total = sum(part.value.item() * part.count for part in parts)
    assert total / 9 == pytest.approx(whole.value.item(), rel=1e-5)


@pytest.mark.parametrize("at_once", [writing.LOGITS, 2 * 13])
def test_metrics_are_plain_whatever_the_loss(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "LOGITS", at_once)
    task = make(label_smoothing=0.3)
    metrics = task.metrics()
    with torch.no_grad():
        task.measure(metrics, batch())
        nats = task.nats(batch())
    values = {name: float(value) for name, value in metrics.compute().items()}
    expected = [-logs(task.nets["model"], a, b)[range(len(b)), b] for a, b in zip((2, 0, 1), TEXTS)]
    for ours, theirs in zip(nats, expected):
        torch.testing.assert_close(ours, theirs)
    assert values["loss"] == pytest.approx(float(torch.cat(expected).mean()), rel=1e-5)
    assert task.rank(values) == (-values["loss"],)


def test_bleu_is_that_of_greedy_captions_against_all_of_a_picture() -> None:
    task = captioning()
    metrics: Any = task.metrics(validated=4)
    with torch.no_grad():
        task.measure(metrics, several())
        task.measure(metrics, several())
        task.measure(metrics, several())
    assert int(metrics["bleu"].sentences) == 4
    said = decode(task.predict(several()).tokens)
    columns = [["W5 W6 W7", "W9 W3"] * 2, ["W8 W4", None] * 2]
    expected = BLEU(lowercase=True).corpus_score(said * 2, columns).score / 100
    values = {name: float(value) for name, value in metrics.compute().items()}
    assert values["bleu"] == pytest.approx(expected)
    expected = CHRF(lowercase=True).corpus_score(said * 2, columns).score / 100
    assert values["chrf"] == pytest.approx(expected)
    assert task.rank(values) == (values["chrf"], -values["loss"])
    assert "bleu" not in task.metrics(validated=0)


def test_scores_of_several_references_over_batches_are_those_of_the_corpus() -> None:
    said = ["the cat sat on the mat today", "A dog runs in the park", "two men"]
    truth = [
        ["the cat sat on a mat today", "a cat is on the mat"],
        ["a dog runs in a park"],
        ["two men are here", "men"],
    ]
    metric = CorpusBleu(lowercase=True)
    metric.update(said[:2], truth[:2])
    metric.update(said[2:], truth[2:])
    assert in_columns(truth) == [[t[0] for t in truth], [truth[0][1], None, "men"]]
    expected = BLEU(lowercase=True).corpus_score(said, in_columns(truth)).score / 100
    assert 0.2 < expected < 1
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-7)
    other = CorpusChrf(lowercase=True)
    other.update(said[:2], truth[:2])
    other.update(said[2:], truth[2:])
    expected = CHRF(lowercase=True).corpus_score(said, in_columns(truth)).score / 100
    assert float(other.compute()) == pytest.approx(expected, abs=1e-7)


def test_neither_unknown_words_nor_nothing_is_written() -> None:
    task = captioning()
    head: Any = task.nets["model"].get_submodule("decoder.head")
    with torch.no_grad():
        head.bias[END], head.bias[1] = 50.0, 100.0
    for tokens in task.predict(several()).tokens:
        assert tokens[-1] == END
        assert len(tokens) == 2, "the end comes as soon as it may"
        assert tokens[0] not in SILENT


def test_made_up_targets_are_as_long_as_the_longest() -> None:
    task = make()
    made = Batch(torch.tensor([0, 1]), task.random_targets(2, ()), torch.arange(2))
    assert made.targets.shape == (2, 6)
    assert task.losses("train", made, torch.Generator())["loss"].value.isfinite()
    assert F.one_hot(made.targets).shape[2] == END + 1
