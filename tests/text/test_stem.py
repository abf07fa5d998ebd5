import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twotower.core.errors import UserError
from twotower.text.stem import Stems, count_stems
from twotower.text.tokenizer import Tokenizer

TEXTS = ["Inverting matrices and sorting lists", "It inverts a matrix; sorted list of matrices", "unseen"]
CONFIG = {"kind": "words", "stem": "english", "min_frequency": 1}


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(TEXTS, CONFIG)


def test_words_of_one_stem_have_one_id(tokenizer):
    one, two, three = (tokenizer.encode([text]).ids_T.tolist() for text in ("inverting", "inverts", "Inverted"))
    assert one == two == three
    assert one[0] > 1
    assert tokenizer.encode(["matrices"]).ids_T.tolist() == tokenizer.encode(["matrice"]).ids_T.tolist()


def test_a_form_that_the_corpus_never_had_is_known_by_its_stem(tokenizer):
    words, unknown, ids = tokenizer.read("How was the list sorting inverted?")
    assert words == ["how", "was", "the", "list", "sort", "invert"]
    assert unknown == ["how", "was", "the"]
    assert ids == tokenizer.encode(["How was the list sorting inverted?"]).ids_T.tolist()
    assert tokenizer.read("Quickest lists")[1] == ["quickest"]


def test_read_gives_the_ids_of_encode_for_any_text(tokenizer):
    for text in ["", "a_list MatrixInverter2 naïve ßtraße", "\u200bsorting\x00lists", "sort sort SORTED"]:
        assert tokenizer.read(text)[2] == tokenizer.encode([text]).ids_T.tolist()


def test_spans_carry_the_stem_and_lie_in_the_text(tokenizer):
    text = "She is Inverting two matrices"
    spans = tokenizer.token_spans(text)
    assert ("invert", 7, 16) in spans
    assert text[7:16] == "Inverting"
    assert ("matric", 21, 29) in spans


def test_the_vocabulary_is_rebuilt_from_plain_data(tokenizer):
    again = Tokenizer.from_vocabulary(tokenizer.word_to_index, tokenizer.config)
    assert again.hash == tokenizer.hash
    np.testing.assert_array_equal(again.encode(TEXTS).ids_T, tokenizer.encode(TEXTS).ids_T)
    assert Tokenizer.train_cached(TEXTS, CONFIG).word_to_index == tokenizer.word_to_index


def test_stems_are_counted_over_their_words():
    words, counts = ["run", "runs", "running", "walk", "a"], np.array([1, 1, 1, 2, 1])
    stems = Stems("english")
    assert count_stems(words, counts, stems, min_frequency=2, most=None) == ["run", "walk"]
    assert count_stems(words, counts, stems, min_frequency=1, most=2) == ["run", "walk"]
    limited = Tokenizer.train(["run runs running walk walk a"], {**CONFIG, "max_vocabulary": 4})
    assert limited.index_to_word == ["[PAD]", "[UNK]", "run", "walk"]


def test_without_stems_hashes_are_those_of_earlier_versions():
    """Models on disk carry the hash of their tokenizer, made before there were stems."""
    plain = Tokenizer.train(["a b"], {"kind": "words"})
    assert plain.hash == "c4cd464f9133bd55b535b0c7602fa77e19080b2b736bfa5edeacc3c362eba8e0"
    assert plain.hash != Tokenizer.train(["a b"], {"kind": "words", "stem": "english"}).hash


def test_other_languages_and_what_is_none():
    german = Tokenizer.train(["Häuser und Haus"], {"kind": "words", "stem": "german"})
    assert german.encode(["häuser"]).ids_T.tolist() == german.encode(["Haus"]).ids_T.tolist()
    with pytest.raises(UserError, match=r"text.stem=englisch.*Did you mean 'english'"):
        Tokenizer.train(["a"], {"kind": "words", "stem": "englisch"})
    with pytest.raises(UserError, match=r"text.stem=english needs whole words"):
        Tokenizer.train(["a"], {"kind": "wordpiece", "stem": "english"})


def test_a_vocabulary_file_is_stemmed_too(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("running\nruns\nwalked\n")
    read = Tokenizer.train([], {**CONFIG, "vocabulary_file": str(path)})
    assert read.index_to_word == ["[PAD]", "[UNK]", "run", "walk"]


SAMPLES = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(["run", "Running", "ran", "a_List"])).map(" ".join))


@given(
    documents=st.lists(SAMPLES, min_size=1, max_size=8),
    queries=st.lists(SAMPLES, max_size=4),
    max_length=st.sampled_from([None, 1, 3]),
    segmentation=st.sampled_from(["plain", "unicode"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ids_kept_while_the_vocabulary_is_made_are_those_of_reading_again(
    documents, queries, max_length, segmentation, tmp_path, monkeypatch
):
    monkeypatch.setenv("TWOTOWER_CACHE", tempfile.mkdtemp(dir=tmp_path))
    monkeypatch.setattr("twotower.text.tokenizer.CHUNK", 3)
    config = {**CONFIG, "segmentation": segmentation}
    made = Tokenizer.train_cached([*documents, *queries], config, documents=len(documents), max_length=max_length)
    with monkeypatch.context() as patch:
        patch.setattr(Tokenizer, "encode", lambda *_: pytest.fail("documents are read again"))
        kept = made.encode_cached(documents, max_length)
    fresh = made.encode(documents, max_length)
    np.testing.assert_array_equal(kept.ids_T, fresh.ids_T)
    np.testing.assert_array_equal(kept.offsets, fresh.offsets)
    assert kept.statistics == fresh.statistics
