"""Tokenizers, trained on the training part: characters, words, BPE, WordPiece, Unigram, by the library `tokenizers`.

Chinese characters are words of their own for `word` and `wordpiece`, which split at blanks and punctuation, as Chinese
has no blanks; `bpe` and `unigram` learn what belongs together. The same texts give the same tokenizer in every process.
Tokenizers of running text keep all of it: a blank is part of the word behind it, any other white space a word.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from corinth.errors import DataError, UsageError

Kind = Literal["word", "char", "bpe", "wordpiece", "unigram"]
KINDS = get_args(Kind)
PAD, UNKNOWN = "<pad>", "<unk>"  # tokens 0 and 1
SPECIAL = (PAD, UNKNOWN)
RARE = 2  # a word that occurs less often is unknown, so that what that means is learnt
COMMON = 5  # unknown words of one look from which they have a token of their own
LONGEST_LOOK = 6  # of the pattern of a word, as of a web address
RUNNING = r" ?\w+| ?[^\w\s]+|\s"  # a word or punctuation with the blank before it, or a white space
# a word or a mark, each with the blank before it, which Metaspace has made a letter of; Chinese characters one by one
JOINED = r"\u2581?\p{Han}|\u2581?[^\W\p{Han}]+|\u2581?[^\w\u2581]|\u2581"
DIGITS = 3  # of a unigram's scores: their last ones depend on the order in which the library adds


def train_tokenizer(
    texts: Sequence[str],
    kind: Kind,
    vocab_size: int,
    *,
    lowercase: bool,
    running: bool = False,
    marks_apart: bool = False,
    joined: bool = False,
) -> Tokenizer:
    """At most `vocab_size` tokens, the padding and the unknown one included; the most frequent.

    With `running` the tokens of a text are all of its characters, in their order: of WordPiece's without the ## that
    some begin with. With `marks_apart` the pieces of `bpe` and `unigram` have no punctuation in them, as those of the
    others never have. With `joined` those of `word` and `wordpiece` say whether a blank stood before them, so that what
    is written has blanks where the training texts have them: woman's, t-shirt, (left).
    """
    form = _running(kind, lowercase) if running else _apart(kind, lowercase, marks_apart, joined)
    if kind == "unigram":
        trained = _trained_unigram(texts, vocab_size, form)
    elif kind in ("word", "char"):
        trained = _untrained(models.WordLevel(unk_token=UNKNOWN), form)
        least = RARE if kind == "word" else 1
        trained.train_from_iterator(texts, trainers.WordLevelTrainer(**_options(vocab_size), min_frequency=least))
    else:
        trained = _untrained(models.BPE(unk_token=UNKNOWN), form)
        limit = max(1, vocab_size - len(SPECIAL))
        trained.train_from_iterator(texts, trainers.BpeTrainer(**_options(vocab_size), limit_alphabet=limit))
    if kind == "wordpiece":
        trained = _word_pieces(trained, texts, vocab_size)
    if trained.get_vocab_size() <= len(SPECIAL):
        raise DataError("no token occurs often enough in the training texts; add texts, or use the tokenizer char")
    if joined and kind in ("word", "wordpiece"):
        ends = [decoders.Metaspace(), decoders.Fuse()]
        trained.decoder = decoders.Sequence(
            [decoders.Replace(Regex("^##"), ""), *ends] if kind == "wordpiece" else ends
        )
    decoder = {"char": decoders.Fuse, "bpe": decoders.Metaspace, "unigram": decoders.Metaspace}.get(kind)
    decoder = None if running else decoder
    if decoder is not None:
        trained.decoder = decoder()
    return trained


def read_tokenizer(content: str) -> Tokenizer:
    """A tokenizer from the library's JSON."""
    try:
        return Tokenizer.from_str(content)
    except Exception as error:  # the library raises nothing narrower
        raise UsageError(f"the tokenizer cannot be read: {error}") from error


def train_word_tokenizer(sentences: Iterable[Sequence[str]], vocab_size: int, *, lowercase: bool) -> Tokenizer:
    """For sentences that are words already: one token a word, of the words that occur at least `RARE` times, and of the
    `looks` that so many of the rarer ones have in common."""
    normalizer = _normalizer("char", lowercase)
    words = Counter(word for sentence in sentences for word in sentence)
    forms = {word: normalizer.normalize_str(word) for word in words}
    counts: Counter[str] = Counter()
    for word, count in words.items():
        counts[forms[word]] += count
    known = {form: count for form, count in counts.items() if count >= RARE and form and form not in SPECIAL}
    rare = Counter(look for word in words if counts[forms[word]] < RARE for look in looks(word))
    common = {look: count for look, count in rare.items() if count >= COMMON}
    kept = [*SPECIAL, *_most(Counter(known | common), vocab_size - len(SPECIAL))]
    tokenizer = Tokenizer(models.WordLevel({token: number for number, token in enumerate(kept)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizer
    return tokenizer


def looks(word: str) -> list[str]:
    """Tokens that stand for a word which is unknown itself, the most telling first: its last three and two letters with
    its pattern of capitals (X), other letters (x), digits (0) and marks, and the pattern alone."""
    sorts = ("X" if c.isupper() else "x" if c.isalpha() else "0" if c.isdigit() else c for c in word)
    pattern = "".join(sort for sort, _ in itertools.groupby(sorts))[:LONGEST_LOOK]
    ends = [word[-length:].lower() for length in (3, 2) if len(word) > length + 1 and word[-length:].isalpha()]
    return [f"<unk {pattern} -{end}>" for end in ends] + [f"<unk {pattern}>"]


def _options(vocab_size: int) -> dict[str, Any]:
    return {"vocab_size": vocab_size, "special_tokens": list(SPECIAL), "show_progress": False}


def _apart(kind: Kind, lowercase: bool, marks_apart: bool, joined: bool) -> tuple[Any, Any]:
    """How a text that stands alone is brought into form, and how it is split."""
    if joined and kind in ("word", "wordpiece"):  # the form of bpe, which puts no blanks around Chinese characters
        blanks = pre_tokenizers.Metaspace(split=False)
        split = pre_tokenizers.Split(Regex(JOINED), "isolated")
        return _normalizer("bpe", lowercase), pre_tokenizers.Sequence([blanks, split])
    return _normalizer(kind, lowercase), _splitter(kind, marks_apart)


def _running(kind: Kind, lowercase: bool) -> tuple[Any, Any]:
    small = [normalizers.Lowercase()] if lowercase else []
    splitter = _splitter(kind) if kind == "char" else pre_tokenizers.Split(Regex(RUNNING), "isolated")
    return normalizers.Sequence(small), splitter


def _untrained(model: Any, form: tuple[Any, Any]) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = form
    return tokenizer


def _trained_unigram(texts: Sequence[str], vocab_size: int, form: tuple[Any, Any]) -> Tokenizer:
    """With its scores rounded and its tokens in the order of score and name: the library's own vary with each run."""
    tokenizer = _untrained(models.Unigram(), form)
    normalizer = tokenizer.normalizer
    assert normalizer is not None
    letters = {letter for text in texts for letter in normalizer.normalize_str(text)}
    if len(letters) + len(SPECIAL) > vocab_size:
        raise DataError(
            f"a unigram tokenizer needs a token for each of the {len(letters)} characters of the training texts, and "
            f"vocab_size is {vocab_size}; raise it, or use bpe"
        )
    tokenizer.train_from_iterator(texts, trainers.UnigramTrainer(**_options(vocab_size), unk_token=UNKNOWN))
    content = json.loads(tokenizer.to_str())
    scores = [(token, round(score, DIGITS)) for token, score in content["model"]["vocab"]]
    rest = sorted((entry for entry in scores if entry[0] not in SPECIAL), key=lambda entry: (-entry[1], entry[0]))
    content["model"] |= {"vocab": [*((token, 0.0) for token in SPECIAL), *rest], "unk_id": 1}
    return Tokenizer.from_str(json.dumps(content))


def _word_pieces(bpe: Tokenizer, texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """WordPiece (Schuster & Nakajima 2012), whose pieces inside a word begin with ##: every character in the place
    where it occurs, and the most frequent of the pieces that byte-pair merges make of the training words.

    The library's own trainer numbers pieces in an order that varies with each run.
    """
    normalizer, splitter = bpe.normalizer, bpe.pre_tokenizer
    assert normalizer is not None
    assert splitter is not None
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    letters: Counter[str] = Counter()
    pieces: Counter[str] = Counter()
    for word, count in words.items():
        for place, letter in enumerate(word):
            letters[letter if place == 0 else f"##{letter}"] += count
        for token in bpe.model.tokenize(word):
            piece = token.value if token.offsets[0] == 0 else f"##{token.value}"
            if token.id > 1:
                pieces[piece] += count
    known = _most(letters, vocab_size - len(SPECIAL))
    known += _most(
        Counter({p: n for p, n in pieces.items() if p not in letters}), vocab_size - len(SPECIAL) - len(known)
    )
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *known])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, splitter, decoders.WordPiece()
    return tokenizer


def _most(counts: Counter[str], most: int) -> list[str]:
    """The most frequent, equals by name."""
    return sorted(counts, key=lambda name: (-counts[name], name))[: max(0, most)]


def _splitter(kind: Kind, marks_apart: bool = False) -> Any:
    if kind == "char":
        return pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    if kind in ("word", "wordpiece"):
        return pre_tokenizers.BertPreTokenizer()
    blanks = pre_tokenizers.Metaspace()
    return pre_tokenizers.Sequence([blanks, pre_tokenizers.Punctuation("isolated")]) if marks_apart else blanks


def _normalizer(kind: Kind, lowercase: bool) -> Any:
    if kind == "char":
        return normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])])
    alone = kind in ("word", "wordpiece")
    options = {"clean_text": True, "handle_chinese_chars": alone, "strip_accents": False, "lowercase": lowercase}
    blanks = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    return normalizers.Sequence([normalizers.NFC(), normalizers.BertNormalizer(**options), *blanks])
