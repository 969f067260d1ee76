"""From texts and time series to what networks take: tokenizers and encodings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corinth.data import SequenceData, open_data
from corinth.data.preparation import preparation_from_dict
from corinth.data.sequences.encoding import SeriesEncoding, TextEncoding
from corinth.data.sequences.tokenizing import KINDS, train_tokenizer
from corinth.data.sequences.wording import Wording
from corinth.errors import DataError, UsageError
from sequence_sets import text_rows, waves, write_table, write_ts


def sequences(spec: str | Path, **options: Any) -> SequenceData:
    data = open_data(spec, **options)
    assert isinstance(data, SequenceData)
    return data


def text_encoding(data: SequenceData, **options: Any) -> TextEncoding:
    usual: dict[str, Any] = {"tokenizer": "word", "vocab_size": 100, "lowercase": True, "max_len": None}
    return TextEncoding.trained(data, **(usual | options))


# ---- tokenizers and encodings ----


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_knows_its_training_texts(kind: Any) -> None:
    texts = [text for text, _ in text_rows(each=100)] + ["电影很好看", "这部电影不好"]
    tokenizer = train_tokenizer(texts, kind, 400, lowercase=True)
    assert tokenizer.token_to_id("<pad>") == 0
    assert tokenizer.token_to_id("<unk>") == 1
    assert tokenizer.get_vocab_size() <= 400
    assert 1 not in tokenizer.encode("A Lovely Film").ids
    chinese = tokenizer.encode("好电影").tokens
    assert "".join(token.replace("▁", "").removeprefix("##") for token in chinese) == "好电影"
    assert (chinese == list("好电影")) == (kind in ("char", "word", "wordpiece"))


def test_capitals_stay_where_asked(tmp_path: Path) -> None:
    rows = [(f"GOOD {i}", "a") for i in range(10)] + [(f"good {i}", "b") for i in range(10)]
    data = sequences(write_table(tmp_path / "t.tsv", rows))
    (a, b), (c, d) = (
        [row[0].item() for row in text_encoding(data, lowercase=lowercase)(["GOOD 1", "good 1"])]
        for lowercase in (True, False)
    )
    assert a == b
    assert c != d


def test_the_training_part_alone_makes_the_encoding(tmp_path: Path) -> None:
    write_table(tmp_path / "train.tsv", text_rows())
    write_table(tmp_path / "test.tsv", [("zebra film", "good"), ("zebra", "bad")])
    encoding = text_encoding(sequences(tmp_path))
    assert encoding.tokens("zebra film") == ["<unk>", "film"]
    series, labels = waves()
    write_ts(tmp_path / "s/W_TRAIN.ts", series, labels)
    write_ts(tmp_path / "s/W_TEST.ts", [values + 1000 for values in series], labels)
    measured = SeriesEncoding.measured(sequences(tmp_path / "s"), max_len=None)
    data = sequences(tmp_path / "s")
    values = np.concatenate([data.source.sequence(int(i)) for i in data.positions("train")])  # ty: ignore
    np.testing.assert_allclose(measured.mean, values.mean(0), rtol=1e-5)
    np.testing.assert_allclose(measured.std, values.std(0), rtol=1e-5)
    (row,) = measured([values[:5]])
    np.testing.assert_allclose(row.numpy(), (values[:5] - values.mean(0)) / values.std(0), atol=1e-4)


def test_an_encoding_survives_its_dictionary_and_cuts(tmp_path: Path) -> None:
    data = sequences(write_table(tmp_path / "t.tsv", text_rows()))
    encoding = text_encoding(data, max_len=2)
    again = preparation_from_dict(encoding.to_dict())
    assert again == encoding
    assert [len(row) for row in encoding(["a b c d", "a", "\u200b"])] == [2, 1, 1]
    assert encoding.longest == 2
    with pytest.raises(UsageError, match="of kind 'sound'; it can be text, series"):
        preparation_from_dict({"kind": "sound"})
    with pytest.raises(UsageError, match="check tokenizer"):
        preparation_from_dict({k: v for k, v in encoding.to_dict().items() if k != "tokenizer"})
    broken = preparation_from_dict(encoding.to_dict() | {"tokenizer": "{}"})
    with pytest.raises(UsageError, match="the tokenizer cannot be read"):
        _ = broken.vocab_size  # ty: ignore


# ---- the same tokenizer every time, of no more tokens than asked ----


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_is_a_function_of_its_texts(kind: Any) -> None:
    texts = [f"{text} {number * 7919 % 1000}" for number, (text, _) in enumerate(text_rows(each=200))]
    first, *others = (train_tokenizer(texts, kind, 200, lowercase=True) for _ in range(4))
    assert first.get_vocab_size() <= 200
    for other in others:
        assert other.get_vocab() == first.get_vocab()
        assert [e.ids for e in other.encode_batch(texts)] == [e.ids for e in first.encode_batch(texts)]


def test_many_characters_and_few_tokens() -> None:
    texts = ["".join(chr(0x4E00 + 5 * k + i) for i in range(5)) for k in range(100)]
    for kind in ("bpe", "wordpiece", "char"):
        assert train_tokenizer(texts, kind, 100, lowercase=True).get_vocab_size() <= 100  # ty: ignore
    with pytest.raises(DataError, match=r"a token for each of the 50\d characters"):
        train_tokenizer(texts, "unigram", 100, lowercase=True)
    with pytest.raises(DataError, match="no token occurs often enough"):
        train_tokenizer(["one two", "three four"], "word", 100, lowercase=True)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_blanks_and_chinese_make_no_empty_tokens(kind: Any) -> None:
    texts = ["电影 很  好看", "a  b   c"] * 20
    tokenizer = train_tokenizer(texts, kind, 60, lowercase=True)
    assert len(tokenizer.encode("电影好看").tokens) <= 5
    assert tokenizer.encode("  a   b ").tokens == tokenizer.encode("a b").tokens


def test_small_numbers_are_no_constants(tmp_path: Path) -> None:
    series, labels = waves()
    tiny = [values * np.float32([1e-13, 0]) + np.float32([0, 3]) for values in series]
    np.savez(
        tmp_path / "t.npz",
        x=np.stack([values[:12] for values in tiny]),
        y=np.array(labels),
    )
    encoding = SeriesEncoding.measured(sequences(tmp_path / "t.npz"), max_len=None)
    assert 1e-13 < encoding.std[0] < 1e-12
    assert encoding.std[1] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_has_its_blanks_where_the_texts_have_them(kind: Any) -> None:
    texts = ["A woman's t-shirt is 3.5 (left)!", 'he said "no", I can\'t \N{EM DASH} 狗在跑。', "café $5 don't ##a"]
    words = Wording.trained(texts * 2, tokenizer=kind, vocab_size=200, lowercase=True, max_len=None)
    assert words.decoded([row.tolist() for row in words.targets(texts)]) == [text.lower() for text in texts]
