"""The task of translation: its loss over tokens, BLEU against sacrebleu, greedy translations."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sacrebleu.metrics import BLEU

from corinth.data import Batch, Sequences
from corinth.data.sequences.batch import NO_TAG
from corinth.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig
from corinth.tasks import Translation, translation
from corinth.tasks.bleu import CorpusBleu, bleu_tokenizer
from corinth.training.stepping import split

BEGIN, END = 11, 12


def decode(rows: Any) -> list[str]:
    return [" ".join(f"w{token}" for token in row if token < BEGIN) for row in rows]


def make(**options: Any) -> Translation:
    torch.manual_seed(0)
    cfg = Seq2SeqConfig(source_vocab_size=9, target_vocab_size=13, embed_dim=6, hidden_size=8, attention="general")
    return Translation(Seq2Seq(cfg), begin=BEGIN, end=END, decode=decode, **options)


def batch() -> Batch:
    inputs = Sequences(torch.tensor([[1, 2, 8], [3, 8, 0], [4, 8, 0]]), torch.tensor([3, 2, 2]))
    targets = torch.tensor([[5, 6, 7, END], [8, END, NO_TAG, NO_TAG], [9, 3, END, NO_TAG]])
    return Batch(inputs, targets, torch.arange(3))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_a_mean_over_the_tokens_of_targets(smoothing: float) -> None:
    """Each behind those before it, which begin with the token of the beginning; by hand, smoothing included."""
    task = make(label_smoothing=smoothing)
    found = task.losses("train", batch(), torch.Generator())
    model, total, right = task.nets["model"], 0.0, 0
    for row, target in enumerate([[5, 6, 7, END], [8, END], [9, 3, END]]):
        source = batch().inputs.values[row : row + 1, : batch().inputs.lengths[row]]
        with torch.no_grad():
            logs = model(source, None, torch.tensor([[BEGIN, *target[:-1]]]))[0].log_softmax(1)
        for step, token in enumerate(target):
            total -= float((1 - smoothing) * logs[step, token] + smoothing * logs[step].mean())
            right += int(logs[step].argmax()) == token
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


@pytest.mark.parametrize(("at_once", "sizes"), [(translation.LOGITS, [9]), (2 * 13, [2, 2, 2, 2, 1])])
def test_the_metrics_are_plain_and_bleu_is_of_greedy_translations(
    at_once: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "LOGITS", at_once)
    task = make(label_smoothing=0.3)
    seen: list[int] = []
    task.nets["model"].get_submodule("head").register_forward_hook(lambda _, args, out: seen.append(len(out)))
    task.nets.eval()
    metrics = task.metrics()
    with torch.no_grad():
        task.measure(metrics, batch())
        assert seen[: len(sizes)] == sizes
        values = {name: float(value) for name, value in metrics.compute().items()}
        logits, targets = task._logits(batch())
    assert values["loss"] == pytest.approx(float(F.cross_entropy(logits, targets)), rel=1e-5)
    said = decode(task.predict(batch()).tokens)
    assert len(said) == 3
    truth = decode([[5, 6, 7], [8], [9, 3]])
    assert values["bleu"] == pytest.approx(BLEU().corpus_score(said, [truth]).score / 100)
    assert task.rank(values) == (values["bleu"], -values["loss"])


def test_no_more_sentences_are_translated_than_wanted() -> None:
    task = make()
    metrics: Any = task.metrics(validated=4)
    with torch.no_grad():
        for _ in range(3):
            task.measure(metrics, batch())
    assert int(metrics["bleu"].sentences) == 4
    assert "bleu" not in task.metrics(validated=0)


def test_bleu_over_batches_is_that_of_the_corpus() -> None:
    said = ["the cat sat on the mat today", "a dog runs in the park", "two men", "it is what it is, is it not?"]
    truth = [
        "the cat sat on a mat today",
        "a dog runs in a park",
        "two men are here",
        "it is what it is, or is it not?",
    ]
    metric = CorpusBleu()
    metric.update(said[:1], truth[:1])
    metric.update(said[1:], truth[1:])
    expected = BLEU().corpus_score(said, [truth]).score / 100
    assert 0.3 < expected < 1
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-7)


def test_the_tokenizer_of_bleu_follows_the_references() -> None:
    assert bleu_tokenizer(["Ein Hund läuft."]) == "13a"
    assert bleu_tokenizer(["我在这里。", "他在那里。"]) == "zh"
    assert bleu_tokenizer(["私はここにいます。"]) == "char"
    metric = CorpusBleu("zh")
    metric.update(["我在这里看见他。"], ["我在那里看见他。"])
    assert 0 < float(metric.compute()) < 1
