import os
import sys
import threading
import types

import numpy as np
import pytest

from twotower.index.exact import on_numpy as exact_numpy
from twotower.index.exact.on_numpy import search_arrays, thread_count


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    """Makes every search use this many threads."""
    monkeypatch.setattr(exact_numpy, "thread_count", lambda: request.param)
    monkeypatch.setattr(exact_numpy, "WORK_PER_THREAD", 1)
    return request.param


def by_hand(queries, vectors, k):
    """Returns scores and rows by a full sort of sums in float64."""
    scores = (queries.astype(np.float64)[:, None] * vectors.astype(np.float64)[None]).sum(axis=2)
    rows = np.stack([np.lexsort((np.arange(len(vectors)), -line)) for line in scores])[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


@pytest.mark.parametrize("chunk", [64, 4096])
@pytest.mark.parametrize("k", [1, 10, 3000])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_neither_chunks_nor_threads_change_the_answer(vectors, queries, threads, chunk, k, dtype, monkeypatch):
    monkeypatch.setattr(exact_numpy, "CHUNK", chunk)
    documents = vectors.astype(dtype)
    scores, rows = search_arrays(queries[:5], documents, k)
    expected, best = by_hand(queries[:5], documents, k)
    assert scores.dtype == np.float32
    assert rows.dtype == np.int64
    np.testing.assert_array_equal(rows, best)
    np.testing.assert_allclose(scores, expected, atol=1e-7)


@pytest.mark.parametrize("chunk", [64, 4096])
def test_identical_documents_come_by_row(vectors, queries, threads, chunk, monkeypatch):
    monkeypatch.setattr(exact_numpy, "CHUNK", chunk)
    documents = vectors.copy()
    nearest = int(by_hand(queries[:1], vectors, 1)[1][0, 0])
    copies = np.random.default_rng(0).choice(3000, 200, replace=False)
    documents[copies] = vectors[nearest]
    scores, rows = search_arrays(queries[:1], documents, 150)
    np.testing.assert_array_equal(rows[0], np.unique([*copies, nearest])[:150])
    assert len(np.unique(scores)) == 1


def test_documents_all_alike_come_by_row(threads):
    documents = np.full((2000, 8), 8**-0.5, np.float32)
    scores, rows = search_arrays(documents[:1], documents, 10)
    assert rows.tolist() == [list(range(10))]
    np.testing.assert_allclose(scores, 1, atol=1e-6)


def test_a_query_without_numbers_finds_nothing(vectors, queries, threads):
    broken = queries[:2].copy()
    broken[0, 3] = np.nan
    scores, rows = search_arrays(broken, vectors, 4)
    assert (rows[0] == -1).all()
    assert np.isneginf(scores[0]).all()
    np.testing.assert_array_equal(rows[1], by_hand(queries[1:2], vectors, 4)[1][0])


def test_small_searches_start_no_thread(vectors, queries, monkeypatch):
    monkeypatch.setattr(exact_numpy, "thread_count", lambda: 8)
    monkeypatch.setattr(threading.Thread, "start", None)
    search_arrays(queries[:1], vectors, 5)


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("0", None), ("²", None), ("4,2", None), ("", None)])
def test_threads_are_as_the_environment_says_until_torch_is_loaded(given, expected, monkeypatch):
    import torch

    assert thread_count() == torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))  # another thread has begun to import it
    assert thread_count() == (expected or len(os.sched_getaffinity(0)))
    monkeypatch.delitem(sys.modules, "torch")
    assert thread_count() == (expected or len(os.sched_getaffinity(0)))
