"""Rankings against sorting every document of every query in Python, ties and block borders included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.evaluation import ranking as module
from twotower.evaluation.ranking import rank_candidates, rank_full


def brute_force(query_QD, document_ND, order, k):
    scores = (query_QD.astype(np.float64) @ document_ND.astype(np.float64).T).astype(np.float32)
    return np.array([sorted(range(len(order)), key=lambda at, row=row: (-row[at], order[at]))[:k] for row in scores])


def same(one, two):
    return np.array_equal(one.rows, two.rows) and np.array_equal(one.scores, two.scores)


@pytest.mark.parametrize("k", [1, 10, 100, 1000])
def test_equals_sorting_everything(unit, k):
    query_QD, document_ND = unit(30), unit(700, seed=1)
    order = np.random.default_rng(2).permutation(700)
    result = rank_full(query_QD, document_ND, order=order, k=k)
    assert np.array_equal(result.rows, brute_force(query_QD, document_ND, order, k))
    assert (result.pool_size == 700).all()
    exact = np.einsum("qd,qkd->qk", query_QD.astype(float), document_ND[result.rows].astype(float))
    np.testing.assert_allclose(result.scores, exact, atol=1e-7)


@pytest.mark.parametrize("chunk", [1, 7, 100, 129, 256, 699, 700, 5000])
def test_chunk_size_changes_nothing(unit, chunk):
    query_QD, document_ND = unit(25), unit(700, seed=1)
    assert same(rank_full(query_QD, document_ND, k=20, chunk=chunk), rank_full(query_QD, document_ND, k=20))


@pytest.mark.parametrize("chunk", [3, 64, 300, None])
@pytest.mark.parametrize("copies", [2, 50, 299])
def test_ties_go_to_the_smaller_id_across_chunks_and_at_the_cut(unit, chunk, copies):
    """Groups of identical documents scattered over the collection, larger than what is nominated beyond k."""
    rng = np.random.default_rng(copies)
    document_ND = unit(max(1, 600 // copies), seed=3)[rng.integers(0, max(1, 600 // copies), 600)]
    query_QD, order = unit(20, seed=4), rng.permutation(600)
    result = rank_full(query_QD, document_ND, order=order, k=10, chunk=chunk)
    assert np.array_equal(result.rows, brute_force(query_QD, document_ND, order, 10))


def test_a_collapsed_model_ranks_by_id(unit):
    document_ND = np.repeat(unit(1), 400, axis=0)
    order = np.random.default_rng(0).permutation(400)
    result = rank_full(unit(5, seed=1), document_ND, order=order, k=100, chunk=37)
    assert (order[result.rows] == np.arange(100)).all()


def test_a_nearly_collapsed_model_is_still_exact(unit):
    """Scores closer together than float32 products can tell apart: the proof fails and the exact way is taken."""
    rng = np.random.default_rng(0)
    document_ND = (unit(1, width=64) + rng.standard_normal((900, 64)) * 1e-7).astype(np.float32)
    query_QD = unit(10, width=64, seed=5)
    first = rank_full(query_QD, document_ND, k=50)
    assert np.array_equal(first.rows, brute_force(query_QD, document_ND, np.arange(900), 50))
    assert same(first, rank_full(query_QD, document_ND, k=50, chunk=123))


def test_most_queries_need_no_second_pass(unit, monkeypatch):
    doubtful = []
    exact = module._exact
    monkeypatch.setattr(module, "_exact", lambda *args: doubtful.append(len(args[2])) or exact(*args))
    rank_full(unit(200, width=64), unit(5000, width=64, seed=1), k=100)
    assert sum(doubtful) <= 2


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_a_lowered_matmul_precision_changes_nothing(unit, precision):
    query_QD, document_ND = unit(10), unit(500, seed=1)
    expected = rank_full(query_QD, document_ND, k=10)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        assert same(rank_full(query_QD, document_ND, k=10), expected)
    finally:
        torch.set_float32_matmul_precision(before)


def test_memory_mapped_half_precision_and_tensors(unit, tmp_path):
    query_QD, document_ND = unit(10), unit(500, seed=1).astype(np.float16)
    np.save(tmp_path / "vectors.npy", document_ND)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    expected = rank_full(query_QD, document_ND.astype(np.float32), k=10)
    assert same(rank_full(query_QD, mapped, k=10, max_memory=2**20), expected)
    assert same(rank_full(torch.from_numpy(query_QD), torch.from_numpy(document_ND), k=10), expected)


def test_fewer_documents_than_k_and_no_queries(unit):
    assert rank_full(unit(3), unit(5, seed=1), k=100).rows.shape == (3, 5)
    assert rank_full(unit(3)[:0], unit(5, seed=1), k=100).rows.shape == (0, 5)


def test_vectors_that_are_not_numbers_are_refused(unit):
    document_ND = unit(50)
    document_ND[17, 3] = np.nan
    with pytest.raises(UserError, match="document row 17 is not finite"):
        rank_full(unit(3), document_ND)
    own = {"offsets": np.array([0, 1, 2, 3]), "candidates": np.array([16, 17, 18])}
    with pytest.raises(UserError, match="document row 17 is not finite"):
        rank_candidates(unit(3), document_ND, **own)
    with pytest.raises(ValueError, match="16 dimensions, document vectors 8"):
        rank_full(unit(3), unit(5, width=8))


def test_memory_is_bounded(unit):
    """The peak of tensors alive follows max_memory, not queries x documents."""
    from torch.profiler import ProfilerActivity, profile

    query_QD, document_ND = unit(2000, width=8), unit(20_000, width=8, seed=1)  # all scores at once: 160 MB
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        rank_full(query_QD, document_ND, k=10, max_memory=16 * 2**20)
    alive = peak = 0
    for event in sorted(record.profiler.kineto_results.events(), key=lambda item: item.start_ns()):
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    assert 0 < peak < 16 * 2**20


def test_candidates_equal_sorting_them(unit):
    rng = np.random.default_rng(0)
    query_QD, document_ND = unit(50), unit(40, seed=1)[rng.integers(0, 40, 300)]
    pools = [rng.choice(300, size=size, replace=False) for size in rng.integers(0, 30, 50)]
    offsets, order = np.concatenate([[0], np.cumsum([len(pool) for pool in pools])]), rng.permutation(300)
    result = rank_candidates(
        query_QD, document_ND, offsets=offsets, candidates=np.concatenate(pools), order=order, k=12, max_memory=2**20
    )
    full = brute_force(query_QD, document_ND, order, 300)
    for at, pool in enumerate(pools):
        expected = [row for row in full[at] if row in set(pool.tolist())][:12]
        assert result.rows[at].tolist() == expected + [-1] * (result.rows.shape[1] - len(expected))
    assert result.pool_size.tolist() == [len(pool) for pool in pools]
    assert np.isneginf(result.scores[result.rows < 0]).all()
