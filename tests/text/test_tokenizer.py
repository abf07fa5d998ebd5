import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.core.errors import UserError
from twotower.text import pipeline
from twotower.text.tokenizer import Tokenizer

TEXTS = ["git log shows the log", "show a git branch", "BatchNorm2d and np.linalg.inv", "naïve Übergröße 42"]


@pytest.fixture(scope="module")
def words():
    return Tokenizer.train(TEXTS, {"kind": "words", "min_frequency": 1})


@pytest.fixture(scope="module")
def pieces():
    return Tokenizer.train(TEXTS * 3, {"kind": "wordpiece", "min_frequency": 1, "max_vocabulary": 120})


def spelt(tokenizer, text):
    return [word for word, _, _ in tokenizer.token_spans(text)]


def test_special_words_come_first_and_vocabulary_is_by_frequency(words):
    assert words.index_to_word[:2] == ["[PAD]", "[UNK]"]
    assert set(words.index_to_word[2:4]) == {"git", "log"}
    assert words.size == len(words.word_to_index) == len(words.index_to_word)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("git-log", ["git", "log"]),
        ("snake_case", ["snake", "case"]),
        ("np.linalg.inv()", ["np", "linalg", "inv"]),
        ("BatchNorm2d", ["batch", "norm2d"]),
        ("HTTPServer", ["http", "server"]),
        ("URLs", ["urls"]),
        ("torch2.13", ["torch2", "13"]),
        ("Übergröße naïve", ["übergröße", "naïve"]),
        ("nai\u0308ve", ["naïve"]),
        ("漢字abc", ["漢", "字", "abc"]),
        ("[PAD] [UNK]", ["pad", "unk"]),
        ("", []),
        (" \n\t ... ", []),
    ],
)
def test_words_are_split_as_a_reader_would(words, text, expected):
    assert spelt(words, text) == expected


def test_identifiers_stay_whole_on_request():
    whole = Tokenizer.train(["np.linalg.inv BatchNorm2d"], {"split_identifiers": False, "min_frequency": 1})
    assert spelt(whole, "np.linalg.inv git-log. BatchNorm2d") == ["np.linalg.inv", "git-log", "batchnorm2d"]


def test_encode_looks_words_up_cuts_and_counts(words):
    tokens = words.encode(["git zzz log", "", "git git git git git"], max_length=3)
    index = words.word_to_index
    assert [tokens.row(row).tolist() for row in range(3)] == [[index["git"], 1, index["log"]], [], [index["git"]] * 3]
    statistics = tokens.statistics
    assert (statistics.texts, statistics.tokens, statistics.unknown) == (3, 8, 1)
    assert (statistics.truncated, statistics.cut_tokens, statistics.empty) == (1, 2, 1)
    assert statistics.oov_rate == 1 / 8
    assert statistics.truncation_rate == 1 / 3


def test_written_special_words_never_become_their_ids(words, pieces):
    for tokenizer in (words, pieces):
        assert 0 not in tokenizer.encode(["[PAD] a [PAD]"]).ids_T


@pytest.mark.parametrize("name", ["words", "pieces"])
def test_rebuilt_from_plain_data_gives_the_same_ids(name, request):
    tokenizer = request.getfixturevalue(name)
    stored = json.loads(json.dumps({"words": tokenizer.word_to_index, "config": tokenizer.config}))
    again = Tokenizer.from_vocabulary(stored["words"], stored["config"])
    texts = [*TEXTS, "an UnknownThing with Ünïcode", ""]
    assert again.hash == tokenizer.hash
    assert again.encode(texts).ids_T.tolist() == tokenizer.encode(texts).ids_T.tolist()


def test_training_twice_gives_the_same_vocabulary():
    texts = [f"{word}ing {word}ed un{word}able" for word in ("load", "print", "read", "writ", "send")]
    for config in ({"kind": "words"}, {"kind": "wordpiece", "max_vocabulary": 80}):
        assert Tokenizer.train(texts, config).word_to_index == Tokenizer.train(texts, config).word_to_index


def test_hash_tells_vocabularies_and_settings_apart(words):
    fewer = Tokenizer.train(TEXTS[:2], {"min_frequency": 1})
    cased = Tokenizer.from_vocabulary(words.word_to_index, {**words.config, "lowercase": False})
    assert len({words.hash, fewer.hash, cased.hash}) == 3


def test_cached_ids_equal_fresh_ones_and_depend_on_content(words, own_cache):
    fresh, cached = words.encode(TEXTS, 3), words.encode_cached(TEXTS, 3)
    assert isinstance(cached.ids_T, np.memmap)
    assert cached.ids_T.tolist() == fresh.ids_T.tolist()
    assert cached.statistics == fresh.statistics
    assert words.encode_cached(TEXTS[1:], 3).ids_T.tolist() == words.encode(TEXTS[1:], 3).ids_T.tolist()
    assert words.encode_cached(TEXTS, 2).ids_T.tolist() == words.encode(TEXTS, 2).ids_T.tolist()
    config = {"min_frequency": 1}
    assert Tokenizer.train_cached(TEXTS, config).hash == Tokenizer.train_cached(TEXTS, config).hash == words.hash


def test_spans_point_into_the_text(words):
    text = "  Show GitHub_logs: naïve!"
    assert [text[start:end] for _, start, end in words.token_spans(text)] == ["Show", "Git", "Hub", "logs", "naïve"]


def test_vocabulary_file_is_reordered_and_checked(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("hello\n[UNK]\n##s\n[PAD]\nworld\n")
    tokenizer = Tokenizer.train([], {"kind": "wordpiece", "vocabulary_file": str(file)})
    assert tokenizer.index_to_word == ["[PAD]", "[UNK]", "hello", "##s", "world"]
    assert tokenizer.encode(["hellos world x"]).ids_T.tolist() == [2, 3, 4, 1]
    as_json = tmp_path / "tokenizer.json"
    as_json.write_text(json.dumps({"model": {"vocab": {"b": 1, "a": 0}}}))
    assert pipeline.read_vocabulary(as_json) == {"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}
    file.write_text("hello\n\nworld\n")
    with pytest.raises(UserError, match=r"vocab.txt:2: empty line"):
        pipeline.read_vocabulary(file)
    as_json.write_text("{")
    with pytest.raises(UserError, match="no word-piece vocabulary"):
        pipeline.read_vocabulary(as_json)
    with pytest.raises(UserError, match="cannot be read"):
        pipeline.read_vocabulary(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "letters"}, "text.kind=letters"),
        ({"lower_case": True}, "Did you mean 'lowercase'"),
        ({"min_frequency": 0}, "text.min_frequency=0"),
        ({"max_vocabulary": True}, "text.max_vocabulary=True"),
        ({"lowercase": "yes"}, "true or false"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(UserError, match=message):
        Tokenizer.train(TEXTS, config)


def test_foreign_vocabulary_is_refused():
    with pytest.raises(UserError, match="not ours"):
        Tokenizer.from_vocabulary({"a": 0, "b": 1}, {})
    with pytest.raises(UserError, match="not ours"):
        Tokenizer.from_vocabulary({"[PAD]": 0, "[UNK]": 1, "a": 3}, {})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=6), st.integers(1, 5))
def test_any_text_is_encoded_within_bounds(words, texts, most):
    tokens = words.encode([text.encode("utf-8", "ignore").decode() for text in texts], most)
    assert len(tokens) == len(texts)
    assert (tokens.lengths <= most).all()
    assert ((tokens.ids_T >= 1) & (tokens.ids_T < words.size)).all()


@pytest.mark.parametrize("text", [*TEXTS, "", "???", "git zzyzx git plügh", "HTTPServer über_alles", "git 日本 [UNK]"])
@pytest.mark.parametrize("kind", ["words", "pieces"])
def test_reading_one_text_is_encoding_it(request, kind, text):
    tokenizer = request.getfixturevalue(kind)
    distinct, unknown, ids = tokenizer.read(text)
    assert ids == tokenizer.encode([text]).ids_T.tolist()
    written = spelt(tokenizer, text)
    assert distinct == list(dict.fromkeys(written))
    assert unknown == list(dict.fromkeys(word for word, number in zip(written, ids, strict=True) if number == 1))


UNICODE = {"segmentation": "unicode"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "\u1791\u17b7\u1789\u179a\u1790\u1799\u1793\u17d2\u178f",
            ["\u1791\u17b7", "\u1789", "\u179a", "\u1790", "\u1799", "\u1793\u17d2", "\u178f"],
        ),
        ("\u0ec2\u0eae\u0e87\u0eae\u0ebd\u0e99", ["\u0ec2", "\u0eae", "\u0e87", "\u0eae", "\u0ebd", "\u0e99"]),
        ("\u0e19\u0e35\u0e49", ["\u0e19\u0e35\u0e49"]),
        ("\u6f22\u5b57abc", ["\u6f22", "\u5b57", "abc"]),
        ("co\u00adoperate", ["cooperate"]),
        ("zero\u200bwidth\u200djoin\ufeffed", ["zerowidthjoined"]),
        ("\u0643\u064e\u062a\u064e\u0628\u064e \u0643\u0640\u062a\u0628", ["\u0643\u062a\u0628", "\u0643\u062a\u0628"]),
        ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", ["\u05e9\u05dc\u05d5\u05dd"]),
        ("BatchNorm2d git-log 42", ["batch", "norm2d", "git", "log", "42"]),
    ],
)
def test_unicode_segmentation(text, expected):
    assert Tokenizer.train(["a"], UNICODE).words(text) == expected


@pytest.mark.parametrize("kind", ["words", "wordpiece"])
def test_accents_are_stripped_and_vowels_stay(kind):
    tokenizer = Tokenizer.train(["a"], {**UNICODE, "kind": kind, "strip_accents": True, "split_identifiers": False})
    assert tokenizer.words("na\u00efve \u00dcber") == ["naive", "uber"]
    hindi, khmer = "\u0939\u093f\u0928\u094d\u0926\u0940", "\u1781\u17d2\u1798\u17c2\u179a"
    assert "".join(tokenizer.words(hindi)) == hindi
    assert "".join(tokenizer.words(khmer)) == khmer


def test_runs_from_before_cut_texts_as_they_did():
    plain = Tokenizer.train(["alpha beta"], {})
    assert plain.config["segmentation"] == "plain"
    assert plain.words("co\u00adoperate \u0e19\u0e35") == ["co", "operate", "\u0e19", "\u0e35"]
    assert Tokenizer.train(["alpha beta"], {"segmentation": "plain"}).hash == plain.hash
    assert Tokenizer.train(["alpha beta"], UNICODE).hash != plain.hash
    with pytest.raises(UserError, match=r"text\.segmentation=words is unknown"):
        Tokenizer.train(["a"], {"segmentation": "words"})


def test_the_memo_gives_the_same_ids_with_unicode_segmentation():
    texts = ["\u1791\u17b7\u1789\u179a abc co\u00adoperate", "cooperate \u0e19\u0e35\u0e49", "plain ascii"]
    tokenizer = Tokenizer.train(texts, UNICODE)
    for row, text in enumerate(texts):
        assert tokenizer.encode(texts).row(row).tolist() == tokenizer.read(text)[2]


ICU = {**UNICODE, "segmentation": "icu"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ฉันต้องการเรียน numpy", ["ฉัน", "ต้องการ", "เรียน", "numpy"]),
        ("ខ្ញុំចង់រៀន", ["ខ្ញុំ", "ចង់", "រៀន"]),
        ("ຂ້ອຍຢາກຮຽນຮູ້", ["ຂ້ອຍ", "ຢາກ", "ຮຽນຮູ້"]),
        ("ကျွန်တော်မြန်မာ", ["ကျွန်တော်", "မြန်မာ"]),
        ("matrix的逆矩阵, BatchNorm2d", ["matrix", "的", "逆", "矩阵", "batch", "norm2d"]),
        ("co\u00adoperate git-log", ["cooperate", "git", "log"]),
    ],
)
def test_words_of_scripts_without_blanks(text, expected):
    pytest.importorskip("icu4py")
    tokenizer = Tokenizer.train([text], ICU)
    assert tokenizer.words(text) == expected
    assert set(expected) <= set(tokenizer.word_to_index)
    assert tokenizer.encode([text]).ids_T.tolist() == [tokenizer.word_to_index[word] for word in expected]
    assert tokenizer.read(text)[2] == tokenizer.encode([text]).ids_T.tolist()
    for word, start, end in tokenizer.token_spans(text):  # the places are those of the text as it came
        assert text[start:end].replace("\u00ad", "").casefold() == word


@pytest.mark.parametrize("kind", ["words", "wordpiece"])
def test_text_with_blanks_is_cut_as_before(kind):
    pytest.importorskip("icu4py")
    text = "The BatchNorm2d layer: don't use np.linalg.inv, naïve Übung हिन्दी"
    settings = {"kind": kind, "split_identifiers": False}
    icu, unicode = (Tokenizer.train([text], {**base, **settings}) for base in (ICU, UNICODE))
    assert icu.words(text) == unicode.words(text)
    assert icu.hash != unicode.hash


def test_a_missing_icu_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    with pytest.raises(UserError, match=r"text\.segmentation=icu needs .*pip install icu4py"):
        Tokenizer.train(["a"], ICU)
