import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from twotower.errors import UserError
from twotower.index import exact
from twotower.index.exact import ExactIndex, search_tensor, true_scores
from twotower.index.vectors import Shards


@pytest.mark.parametrize("budget", [1, 1 << 14, 1 << 21])
@pytest.mark.parametrize("k", [1, 10, 3000])
def test_chunks_do_not_change_the_answer(vectors, queries, budget, k, monkeypatch):
    monkeypatch.setattr(exact, "SCORES_PER_CHUNK", budget)
    monkeypatch.setattr(exact, "LEAST_CHUNK", 64)
    scores, rows = search_tensor(torch.from_numpy(queries), torch.from_numpy(vectors), k)
    expected = np.sort(queries @ vectors.T, axis=1)[:, ::-1][:, :k]
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    np.testing.assert_allclose(np.take_along_axis(queries @ vectors.T, rows, axis=1), expected, atol=2e-6)


@pytest.mark.parametrize("batch", [1, 5, 50])
def test_any_batch_gets_the_true_documents_without_faiss(batch, vectors, queries, truth, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(exact, "SCORES_PER_CHUNK", 1)
    monkeypatch.setattr(exact, "LEAST_CHUNK", 64)  # many chunks, most of which are passed over
    index = ExactIndex(device="cpu")
    index.build(vectors, [""] * 3000, tmp_path)
    np.testing.assert_allclose(index.search(queries[:batch], 20)[0], truth[0][:batch], atol=2e-6)


def test_more_queries_than_one_batch(vectors):
    _, rows = search_tensor(torch.from_numpy(vectors[:2500]), torch.from_numpy(vectors), 1)
    assert (rows[:, 0] == np.arange(2500)).all()


def test_float16_halves_the_file_and_keeps_the_order(vectors, queries, truth, tmp_path):
    index = ExactIndex(dtype="float16", device="cpu")
    index.build(vectors, [""] * 3000, tmp_path)
    assert (tmp_path / "vectors.npy").stat().st_size == 128 + 3000 * 32 * 2
    scores, _ = index.search(queries, 10)
    np.testing.assert_allclose(scores, truth[0][:, :10], atol=2e-3)


def test_vectors_stay_on_disk(vectors, tmp_path):
    index = ExactIndex(device="cpu")
    index.build(Shards([vectors[:100], vectors[100:]]), [""] * 3000, tmp_path)
    mapped = Path("/proc/self/maps").read_text()
    assert str(tmp_path / "vectors.npy") in mapped


def test_unknown_device_and_dtype_are_named():
    with pytest.raises(UserError, match=r"index\.exact\.device=cuda:7"):
        ExactIndex(device="cuda:7").check()
    with pytest.raises(UserError, match=r"index\.exact\.dtype=int8"):
        ExactIndex(dtype="int8")


def test_file_cut_short_is_named(vectors, tmp_path):
    ExactIndex(device="cpu").build(vectors, [""] * 3000, tmp_path)
    data = (tmp_path / "vectors.npy").read_bytes()
    (tmp_path / "vectors.npy").write_bytes(data[:1000])
    with pytest.raises(UserError, match="Cannot read"):
        ExactIndex(device="cpu").load(tmp_path)


def test_true_scores_over_shards(vectors, queries, truth):
    shards = Shards([vectors[:7], vectors[7:]])
    np.testing.assert_allclose(true_scores(queries, shards, 10), truth[0][:, :10], atol=2e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_gpu_agrees_with_cpu(vectors, queries, truth, tmp_path):
    index = ExactIndex(device="cuda")
    index.build(vectors, [""] * 3000, tmp_path)
    np.testing.assert_allclose(index.search(queries, 20)[0], truth[0], atol=1e-4)
