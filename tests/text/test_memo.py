"""Looking words up gives what tokenizing every text from scratch gives, for any text."""

from __future__ import annotations

import random

import numpy as np
import pytest

from twotower.text import memo
from twotower.text.tokenizer import Tokenizer

PIECES = [
    "git", "log", "HTTPServer", "batchNorm2d", "np.linalg.inv", "snake_case-name", "don't", "café", "naïve",
    "cafe\u0301", "Ünïcode", "東京", "ひらがな", "ไทย", "e\u200bf", "a\u00adb", "x\u00a0y", "½", "ﬁne", "ＡＢＣ",
    "Σίσυφος", "ΣΑΣ", "İstanbul", "¨", "…", "—", "“q”", "\u2028", "a\tb", "c\nd", "\x07", "\x85", "é", "\u0301", "😀",
    "👩‍💻",
    "1.5e-3", "__init__", "--flag", "a" * 120, "C++", "[PAD]", "[UNK]", "##ing", "...", "\ufeff",
]  # fmt: skip


def texts(count: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    spaces = [" ", "", "  ", "\n", "\u3000", "_", "-", "."]
    made = []
    for _ in range(count):
        size = generator.randrange(0, 12)
        made.append("".join(generator.choice(PIECES) + generator.choice(spaces) for _ in range(size)))
    letters = [chr(generator.randrange(1, 0x3000)) for _ in range(4000)]
    return made + ["".join(generator.sample(letters, 12)) for _ in range(count)]


@pytest.mark.parametrize("kind", ["words", "wordpiece"])
@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_are_those_of_the_tokenizer_itself(kind, split, strip, lowercase):
    config = {"kind": kind, "split_identifiers": split, "strip_accents": strip, "lowercase": lowercase}
    tokenizer = Tokenizer.train(texts(300, 1), config)
    given = texts(1500, 2)
    tokens = tokenizer.encode(given)
    for number, expected in enumerate(tokenizer._rust_ids(given)):
        assert tokens.row(number).tolist() == expected, ascii(given[number])


def test_a_full_memory_is_emptied_and_goes_on(monkeypatch):
    monkeypatch.setattr(memo, "MOST_WORDS", 10)
    tokenizer = Tokenizer.train(["a b c d e f g h i j k l m n"], {"min_frequency": 1})
    for given in (["a b c d e f g h i j k"], ["l m n a", "", "zzz"], ["n m"]):
        expected = tokenizer._rust_ids(given)
        tokens = tokenizer.encode(given)
        assert [tokens.row(row).tolist() for row in range(len(given))] == expected
        assert np.array_equal(tokens.lengths, [len(row) for row in expected])
