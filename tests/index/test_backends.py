"""What every backend has in common: the same signs, the same scale, the same answers, and never a wrong document."""

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.index.exact.index import ExactIndex
from twotower.index.faiss.index import FaissIndex
from twotower.index.recall import make_probe, measure
from twotower.index.redis.index import RedisIndex

EXACT = {
    "exact": lambda: ExactIndex(device="cpu"),
    "faiss_flat": lambda: FaissIndex(),
    "redis_flat": lambda: RedisIndex(algorithm="FLAT"),
}
APPROXIMATE = {
    "faiss_hnsw": lambda: FaissIndex(name="faiss_hnsw", factory="HNSW32"),
    "faiss_ivf": lambda: FaissIndex(name="faiss_ivf", factory="IVF64,Flat"),
    "faiss_fastscan": lambda: FaissIndex(name="faiss_fastscan", factory="IVF32,PQ{dim/2}x4fs", rerank=200),
    "faiss_ivfpq": lambda: FaissIndex(name="faiss_ivfpq", factory="IVF32,PQ16x4", rerank=200),
    "redis_hnsw": lambda: RedisIndex(algorithm="HNSW", ef_construction=100),
}
ALL = {**EXACT, **APPROXIMATE}


@pytest.fixture(params=sorted(ALL))
def backend(request, redis_url):
    return ALL[request.param]


@pytest.fixture(params=sorted(EXACT))
def exact_backend(request, redis_url):
    return EXACT[request.param]


def build(index, vectors, folder, probe=None):
    folder.mkdir(exist_ok=True)
    index.build(vectors, [f"d{i}" for i in range(len(vectors))], folder, probe=probe)
    return index


def test_exact_backends_agree_with_numpy(exact_backend, vectors, queries, truth, tmp_path):
    scores, rows = build(exact_backend(), vectors, tmp_path / "i").search(queries, 20)
    np.testing.assert_allclose(scores, truth[0], atol=2e-6)
    close = np.isclose(scores[:, 1:], scores[:, :-1], atol=1e-6).any(axis=1)
    assert (rows[~close] == truth[1][~close]).all()


def test_approximate_backends_reach_their_recall(backend, vectors, queries, tmp_path):
    probe = make_probe(vectors, queries)
    assert measure(build(backend(), vectors, tmp_path / "i", probe), vectors, probe) >= 0.95


def test_scores_are_cosine_of_the_rows_returned(backend, vectors, queries, tmp_path):
    scores, rows = build(backend(), vectors, tmp_path / "i").search(queries, 10)
    assert (rows >= 0).all()
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", queries, vectors[rows]), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_length_of_vectors_does_not_matter(backend, vectors, queries, tmp_path):
    stretched = vectors * np.random.default_rng(0).uniform(0.1, 9, (len(vectors), 1)).astype(np.float32)
    scores, rows = build(backend(), stretched, tmp_path / "i").search(5 * queries, 5)
    assert scores.max() <= 1.0
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", queries, vectors[rows]), atol=1e-5)


def test_opposite_vectors_score_below_zero(exact_backend, vectors, tmp_path):
    scores, rows = build(exact_backend(), vectors[:3], tmp_path / "i").search(-vectors[:1], 3)
    assert rows[0, -1] == 0
    assert scores[0, -1] == pytest.approx(-1.0, abs=1e-5)


@pytest.mark.parametrize("count", [1, 3, 12])
def test_fewer_documents_than_asked_for(backend, vectors, queries, count, tmp_path):
    scores, rows = build(backend(), vectors[:count], tmp_path / "i").search(queries, 20)
    assert rows.shape == scores.shape == (50, 20)
    assert (np.sort(rows[:, :count], axis=1) == np.arange(count)).all()
    assert (rows[:, count:] == -1).all()
    assert np.isneginf(scores[:, count:]).all()


def test_loaded_index_answers_as_the_built_one(backend, vectors, queries, tmp_path):
    built = build(backend(), vectors, tmp_path / "i", make_probe(vectors))
    loaded = backend()
    loaded.load(tmp_path / "i")
    assert (loaded.count, loaded.dim) == (3000, 32)
    for mine, theirs in zip(built.search(queries, 7), loaded.search(queries, 7), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_one_query_alone_is_answered_as_in_a_batch(exact_backend, vectors, queries, tmp_path):
    index = build(exact_backend(), vectors, tmp_path / "i")
    _, together = index.search(queries, 5)
    alone = np.concatenate([index.search(query, 5)[1] for query in queries])
    assert (alone == together).mean() > 0.99


def test_mistakes_are_named(backend, vectors, queries, tmp_path):
    index = build(backend(), vectors, tmp_path / "i")
    with pytest.raises(UserError, match="16 dimensions, the index"):
        index.search(queries[:, :16], 5)
    with pytest.raises(UserError, match="k=0"):
        index.search(queries, 0)
    with pytest.raises(UserError, match="no documents"):
        backend().build(vectors[:0], [], tmp_path)
    with pytest.raises(UserError, match="3000 vectors but 1 document ids"):
        backend().build(vectors, ["x"], tmp_path)


def test_ties_are_in_row_order(exact_backend, vectors, tmp_path):
    twins = np.repeat(vectors[:5], 4, axis=0)
    _, rows = build(exact_backend(), twins, tmp_path / "i").search(vectors[:5], 4)
    assert (rows == np.arange(20).reshape(5, 4)).all()


def test_vectors_that_are_no_numbers_are_neither_built_nor_searched(backend, vectors, tmp_path):
    index = build(backend(), vectors[:200], tmp_path / "good")
    for value in (np.nan, np.inf):
        query = np.ones((2, vectors.shape[1]), np.float32)
        query[1, 3] = value
        with pytest.raises(UserError, match=r"1 of 2 query vectors are not finite \(the first is row 1\)"):
            index.search(query, 5)
        with pytest.raises(UserError, match="1 of 1 query vectors are not finite"):
            index.search(query[1], 5)
        bad = vectors[:200].copy()
        bad[17, 0] = value
        other = backend()
        index.publish()
        with pytest.raises(UserError, match="Document vector 17 is not finite"):
            build(other, bad, tmp_path / "bad")
        other.discard()
