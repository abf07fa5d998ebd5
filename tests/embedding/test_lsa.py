import numpy as np
import pytest
from scipy.sparse import csr_matrix

from twotower.core.errors import UserError
from twotower.core.ragged import to_offsets
from twotower.embedding.build import build, check_embedding
from twotower.embedding.lsa import bm25_weights, lsa_vectors, right_directions
from twotower.text.tokens import Tokens

SETTINGS = {"dim": 8, "k1": 1.5, "b": 0.75, "passes": 6, "max_documents": 1000}


def corpus(documents=60, size=40, seed=0):
    """Documents of two topics: words 2 to 20 and words 21 to 39."""
    generator = np.random.default_rng(seed)
    rows = [
        generator.integers(2 + 19 * (n % 2), 21 + 19 * (n % 2), generator.integers(3, 12)) for n in range(documents)
    ]
    ids = np.concatenate(rows).astype(np.int32)
    return Tokens(ids_T=ids, offsets=to_offsets(np.array([len(row) for row in rows]))), size


def test_the_weights_are_bm25_s():
    """Against bm25s itself: the score of a one-word query is the word's weight in the document."""
    import bm25s

    tokens, size = corpus()
    rows = [[str(word) for word in tokens.row(number)] for number in range(len(tokens))]
    reference = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    reference.index(rows, show_progress=False)
    ours = bm25_weights(tokens, size, k1=1.5, b=0.75).toarray()
    for word in (2, 5, 30):
        if str(word) in reference.vocab_dict:
            np.testing.assert_allclose(ours[:, word], reference.get_scores([str(word)]), rtol=1e-5, atol=1e-6)
    assert not ours[:, :2].any()


def test_the_directions_are_those_of_numpy_s_svd():
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((50, 30)) * (generator.random((50, 30)) < 0.3) * np.linspace(3, 0.1, 30)
    ours = right_directions(csr_matrix(dense.astype(np.float32)), 5, passes=30, seed=0, report=lambda *_: None)
    theirs = np.linalg.svd(dense)[2][:5].T
    np.testing.assert_allclose(np.abs(np.sum(ours * theirs, axis=0)), 1.0, atol=1e-3)


def test_words_of_one_topic_are_near_each_other():
    tokens, size = corpus(400)
    known, vectors = lsa_vectors(tokens, size=size, seed=0, **{**SETTINGS, "dim": 2})
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = unit @ unit.T
    first = known < 21
    assert similar[np.ix_(first, first)].mean() > similar[np.ix_(first, ~first)].mean() + 0.5
    assert np.linalg.norm(vectors, axis=1).mean() == pytest.approx(1.0)


def test_a_second_call_reads_the_cache_and_a_large_corpus_is_drawn_from(monkeypatch):
    tokens, size = corpus(50, seed=3)
    first = lsa_vectors(tokens, size=size, seed=0, **SETTINGS)
    monkeypatch.setattr("twotower.embedding.lsa.right_directions", None)
    second = lsa_vectors(tokens, size=size, seed=0, **SETTINGS)
    np.testing.assert_array_equal(first[1], second[1])
    monkeypatch.undo()
    some = lsa_vectors(tokens, size=size, seed=0, **{**SETTINGS, "max_documents": 20})
    assert some[1].shape[1] == 8
    assert not np.array_equal(some[1][:10], first[1][:10])


def test_a_corpus_with_fewer_directions_than_asked_for_fills_up_with_zeros():
    tokens = Tokens(ids_T=np.array([2, 3, 2, 3], dtype=np.int32), offsets=np.array([0, 2, 4]))
    known, vectors = lsa_vectors(tokens, size=5, seed=0, **{**SETTINGS, "dim": 8})
    assert known.tolist() == [2, 3]
    assert np.isfinite(vectors).all()
    assert not vectors[:, 1:].any()


def test_the_matrix_holds_them_as_they_are_and_another_kind_may_be_mixed_in():
    tokens, size = corpus()
    words = ["[PAD]", "[UNK]", *(str(number) for number in range(2, size))]
    alone = build({"kind": "lsa", "dim": 8}, words, tokens, 0)
    assert not alone[0].any()
    mixed = build({"kind": "lsa", "dim": 8, "mix": {"kind": "random", "dim": 4}, "mix_weight": 0.5}, words, tokens, 0)
    added = np.linalg.norm((mixed - alone)[2:], axis=1)
    np.testing.assert_allclose(added, 0.5 * np.linalg.norm(alone[2:], axis=1), rtol=1e-4)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("b", 2, "embedding.b"), ("passes", 1, "embedding.passes"), ("mix", {"kind": "lsa"}, "embedding.mix"),
     ("mix", 3, "embedding.mix"), ("mix", {"kind": "random", "dim": 900}, r"embedding.mix.dim=900"),
     ("window", 5, "embedding.window")],
)  # fmt: skip
def test_what_does_not_work_is_refused_by_name(key, value, said):
    with pytest.raises(UserError, match=said):
        check_embedding({"kind": "lsa", "dim": 512, key: value})


def test_every_vector_may_have_length_one():
    tokens, size = corpus(50, seed=3)
    known, vectors = lsa_vectors(tokens, size=size, seed=0, **SETTINGS)
    same, unit = lsa_vectors(tokens, size=size, seed=0, **SETTINGS, unit=True)
    np.testing.assert_array_equal(known, same)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    assert lengths.std() > 0.01
    np.testing.assert_allclose(unit, vectors / lengths, rtol=1e-5)
