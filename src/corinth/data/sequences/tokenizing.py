"""Tokenizers, trained on the training part: characters, words, BPE, WordPiece, Unigram, by the library `tokenizers`.

Chinese characters are tokens of their own under all of them but characters, where everything is: words are split at
blanks and punctuation, and Chinese has no blanks.
"""

from collections.abc import Iterable
from typing import Any, Literal, get_args

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from corinth.errors import DataError

Kind = Literal["word", "char", "bpe", "wordpiece", "unigram"]
KINDS = get_args(Kind)
PAD, UNKNOWN = "<pad>", "<unk>"  # tokens 0 and 1


def train_tokenizer(texts: Iterable[str], kind: Kind, vocab_size: int, *, lowercase: bool) -> Tokenizer:
    """At most `vocab_size` tokens, the padding and the unknown one included; the most frequent."""
    special = [PAD, UNKNOWN]
    options: dict[str, Any] = {"vocab_size": vocab_size, "special_tokens": special, "show_progress": False}
    model: Any
    trainer: Any
    if kind in ("word", "char"):
        model, trainer = models.WordLevel(unk_token=UNKNOWN), trainers.WordLevelTrainer(**options)
    elif kind == "bpe":
        model, trainer = models.BPE(unk_token=UNKNOWN), trainers.BpeTrainer(**options)
    elif kind == "wordpiece":
        model, trainer = models.WordPiece(unk_token=UNKNOWN), trainers.WordPieceTrainer(**options)
    else:
        model, trainer = models.Unigram(), trainers.UnigramTrainer(**options, unk_token=UNKNOWN)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _normalizer(kind, lowercase)
    if kind == "char":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
    elif kind == "word":
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    elif kind == "wordpiece":
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    else:
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() <= len(special):
        raise DataError("the training texts have no characters to make tokens of")
    return tokenizer


def _normalizer(kind: Kind, lowercase: bool) -> Any:
    if kind == "char":
        return normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])])
    return normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.BertNormalizer(
                clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=lowercase
            ),
        ]
    )
