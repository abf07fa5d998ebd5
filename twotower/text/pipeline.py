"""What a tokenizer is made of: settings checked, vocabulary counted or read, Rust pieces put together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer

from twotower.core.errors import UserError
from twotower.text import segment
from twotower.text.settings import TextSettings

PAD, UNKNOWN = "[PAD]", "[UNK]"
# Between a small letter or digit and a capital; between capitals and a capitalised word (HTTP|Server, but not UR|Ls).
CAMEL = r"(?<=[\p{Ll}\p{N}])(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll}{2})"
# Scripts written without spaces go character by character; everything else in runs of letters, marks and digits.
UNSPACED_SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai")
UNSPACED = "".join(rf"\p{{{name}}}" for name in UNSPACED_SCRIPTS)
RUN = rf"[\p{{L}}\p{{M}}\p{{N}}&&[^{UNSPACED}]]+"
# Scripts whose words no blank parts, cut into what a reader sees as one letter (Unicode's grapheme clusters, \X).
SCRIPTS = (
    *("Bopomofo", "Lao", "Khmer", "Myanmar", "Tai_Le", "New_Tai_Lue", "Tai_Tham", "Tai_Viet", "Javanese", "Balinese"),
    *("Yi", "Ahom", "Tangut", "Nushu", "Khitan_Small_Script", "Batak", "Buginese", "Makasar", "Rejang", "Kawi"),
    *("Cuneiform", "Egyptian_Hieroglyphs", "Anatolian_Hieroglyphs"),
)
# What shows nothing and parts no words: soft hyphen, joiners, marks of direction, variation selectors.
INVISIBLE = "[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
# Vowel marks that are written or left out at will, and what only stretches a word, of Arabic, Hebrew and Syriac.
OPTIONAL_MARKS = (
    "[\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\u08d3-\u08e1\u08e3-\u08ff\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0711\u0730-\u074a]"
)
# Accents of letters; the marks of Indic, Khmer, Thai and other scripts are vowels and stay.
ACCENTS = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
PREFIX = "##"
ALPHABET = 1000
"""The most characters that a trained word-piece vocabulary knows; words with rarer ones become [UNK]."""


def check_vocabulary(word_to_index: dict[str, int]) -> dict[str, int]:
    """Returns the vocabulary as a plain dict in index order.

    Raises:
        UserError: when [PAD] is not 0, [UNK] not 1, or the indices are not 0 to V - 1.
    """
    ordered = dict(sorted(word_to_index.items(), key=lambda item: item[1]))
    if list(ordered.values()) != list(range(len(ordered))) or list(ordered)[:2] != [PAD, UNKNOWN]:
        raise UserError("This vocabulary is not ours: indices must run from 0 without gaps, [PAD] being 0 and [UNK] 1.")
    return ordered


def build(word_to_index: dict[str, int], settings: TextSettings) -> RustTokenizer:
    """Puts the Rust tokenizer together. No added tokens, so that "[PAD]" written in a text stays ordinary text."""
    model: models.Model
    if settings.kind == "words":
        model = models.WordLevel(word_to_index, unk_token=UNKNOWN)
    else:
        model = models.WordPiece(word_to_index, unk_token=UNKNOWN, continuing_subword_prefix=PREFIX)
    tokenizer = RustTokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(_normalizers(settings))
    tokenizer.pre_tokenizer = _cutter(settings)
    return tokenizer


def _cutter(settings: TextSettings) -> pre_tokenizers.PreTokenizer:
    """Returns what cuts normalised text into words."""
    plain = settings.segmentation == "plain"
    single, run = (f"[{UNSPACED}]", RUN) if plain else _clusters(settings.segmentation)
    if settings.kind == "wordpiece":
        bert = pre_tokenizers.BertPreTokenizer()
        if plain:
            return bert
        return pre_tokenizers.Sequence([bert, pre_tokenizers.Split(Regex(single), "isolated")])
    word = run if settings.split_identifiers else rf"{run}(?:[_.\-]+{run})*"
    return pre_tokenizers.Split(Regex(f"{single}|{word}"), "removed", invert=True)


def _clusters(segmentation: str) -> tuple[str, str]:
    """Returns the expressions of what stands alone, a letter of a script without blanks, and of the other words."""
    by_word = segment.SCRIPTS if segmentation == "icu" else ()
    letters = "".join(rf"\p{{{name}}}" for name in (*UNSPACED_SCRIPTS, *SCRIPTS) if name not in by_word)
    return rf"(?=[{letters}])\X", rf"[\p{{L}}\p{{M}}\p{{N}}&&[^{letters}]]+"


def _normalizers(settings: TextSettings) -> list[normalizers.Normalizer]:
    camel: list[normalizers.Normalizer] = [normalizers.Replace(Regex(CAMEL), " ")] if settings.split_identifiers else []
    if settings.segmentation != "plain":
        return _unicode_normalizers(settings, camel)
    if settings.kind == "wordpiece":
        bert = normalizers.BertNormalizer(lowercase=settings.lowercase, strip_accents=settings.strip_accents)
        return [*camel, bert]
    steps = [normalizers.NFKC(), *camel]
    if settings.lowercase:
        steps.append(normalizers.Lowercase())
    if settings.strip_accents:
        steps += [normalizers.NFD(), normalizers.StripAccents(), normalizers.NFC()]
    return steps


def _unicode_normalizers(settings: TextSettings, camel: list[normalizers.Normalizer]) -> list[normalizers.Normalizer]:
    unseen = [normalizers.Replace(Regex(pattern), "") for pattern in (INVISIBLE, OPTIONAL_MARKS)]
    accents = [normalizers.NFD(), normalizers.Replace(Regex(ACCENTS), "")] if settings.strip_accents else []
    if settings.kind == "wordpiece":
        bert = normalizers.BertNormalizer(lowercase=settings.lowercase, strip_accents=False)
        return [*camel, *unseen, bert, *accents]
    lower = [normalizers.Lowercase()] if settings.lowercase else []
    return [normalizers.NFKC(), *unseen, *camel, *lower, *accents, *([normalizers.NFC()] if accents else [])]


def make_vocabulary(texts: Iterable[str], settings: TextSettings) -> dict[str, int]:
    """Counts a vocabulary from texts, most frequent first, or reads the file that the settings name."""
    if settings.vocabulary_file is not None:
        return read_vocabulary(Path(settings.vocabulary_file))
    arguments: dict[str, Any] = {
        "min_frequency": settings.min_frequency,
        "special_tokens": [PAD, UNKNOWN],
        "show_progress": False,
        "vocab_size": settings.max_vocabulary or 2**31,
    }
    counting = build({PAD: 0, UNKNOWN: 1}, settings)
    if settings.kind == "words":
        trainer: trainers.Trainer = trainers.WordLevelTrainer(**arguments)
    else:
        texts = list(texts)
        # The trainer numbers continued characters in the order of a hash table that differs from run to run, and breaks
        # ties between merges by those numbers. Numbering them beforehand makes the vocabulary the same every time.
        arguments["special_tokens"] += [PREFIX + letter for letter in _alphabet(texts, counting)]
        trainer = trainers.WordPieceTrainer(**arguments, continuing_subword_prefix=PREFIX, limit_alphabet=ALPHABET)
    counting.train_from_iterator(texts, trainer)
    words = sorted(counting.get_vocab().items(), key=lambda item: item[1])
    return with_specials(word for word, _ in words)


def _alphabet(texts: list[str], tokenizer: RustTokenizer) -> list[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.normalizer.normalize_str(text))
    letters = [letter for letter in counts if not letter.isspace()]
    return sorted(letters, key=lambda letter: (-counts[letter], letter))[:ALPHABET]


def with_specials(words: Iterable[str]) -> dict[str, int]:
    """Numbers words in the given order after [PAD] and [UNK], wherever those two stood."""
    ordered = dict.fromkeys([PAD, UNKNOWN, *words])
    return {word: number for number, word in enumerate(ordered)}


def read_vocabulary(path: Path) -> dict[str, int]:
    """Reads a `vocab.txt` (a word a line) or a `tokenizer.json` of the Hugging Face kind.

    Raises:
        UserError: when the file is missing, is not in one of these forms, or marks continuations other than by "##".
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"text.vocabulary_file={path} cannot be read: {reason}.") from error
    if path.suffix != ".json":
        words = [line.rstrip("\r") for line in content.split("\n")]
        while words and not words[-1]:
            words.pop()
        for number, word in enumerate(words, start=1):
            if not word:
                raise UserError(f"{path}:{number}: empty line; a vocabulary has one word on each line.")
        return with_specials(words)
    try:
        model = json.loads(content)["model"]
        vocabulary = model["vocab"]
        if not isinstance(vocabulary, dict) or model.get("continuing_subword_prefix", PREFIX) != PREFIX:
            raise TypeError("not a word-piece or word-level vocabulary")
        return with_specials(sorted(vocabulary, key=vocabulary.__getitem__))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"text.vocabulary_file={path} holds no word-piece vocabulary (model.vocab, prefix '##'): {error}."
        ) from error
