import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from twotower.core.errors import UserError
from twotower.evaluation import nominate
from twotower.evaluation.ranking import rank_full
from twotower.index.exact.index import ExactIndex
from twotower.index.exact.on_numpy import search_arrays
from twotower.index.exact.on_torch import search_tensor, true_scores
from twotower.index.vectors import Shards


@pytest.mark.parametrize("budget", [1, 1 << 14, 1 << 21])
@pytest.mark.parametrize("k", [1, 10, 3000])
def test_chunks_do_not_change_the_answer(vectors, queries, budget, k, monkeypatch):
    monkeypatch.setattr(nominate, "SCORES_OF_BLOCK", {"cpu": budget})
    monkeypatch.setattr(nominate, "LEAST_BLOCK", 64)
    scores, rows = search_tensor(torch.from_numpy(queries), torch.from_numpy(vectors), k)
    expected = np.sort(queries @ vectors.T, axis=1)[:, ::-1][:, :k]
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    np.testing.assert_allclose(np.take_along_axis(queries @ vectors.T, rows, axis=1), expected, atol=2e-6)


@pytest.mark.parametrize("batch", [1, 5, 50])
def test_any_batch_gets_the_true_documents_without_faiss(batch, vectors, queries, truth, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(nominate, "SCORES_OF_BLOCK", {"cpu": 1})
    monkeypatch.setattr(nominate, "LEAST_BLOCK", 64)  # many blocks, most of which are passed over
    index = ExactIndex(device="cpu")
    index.build(vectors, [""] * 3000, tmp_path)
    np.testing.assert_allclose(index.search(queries[:batch], 20)[0], truth[0][:batch], atol=2e-6)


@pytest.mark.parametrize("copies", [1, 3, 400])
def test_a_search_and_an_evaluation_rank_alike_down_to_ties(copies, monkeypatch):
    """Vectors of few whole numbers: many documents have the same score, exactly, and whole groups are the same."""
    monkeypatch.setattr(nominate, "SCORES_OF_BLOCK", {"cpu": 1})
    monkeypatch.setattr(nominate, "LEAST_BLOCK", 64)
    rng = np.random.default_rng(copies)
    vectors = rng.integers(-1, 2, (1200 // copies, 32)).astype(np.float32)[rng.integers(0, 1200 // copies, 1200)] / 8
    queries = rng.integers(-1, 2, (17, 32)).astype(np.float32) / 8
    truth = queries.astype(float) @ vectors.T.astype(float)
    expected = np.lexsort((np.broadcast_to(np.arange(1200), truth.shape), -truth), axis=1)[:, :20]
    ranking = rank_full(queries, vectors, k=20)
    of_numpy, of_torch = (
        search_arrays(queries, vectors, 20),
        search_tensor(*map(torch.from_numpy, (queries, vectors)), 20),
    )
    for scores, rows in (of_numpy, of_torch, (ranking.scores, ranking.rows)):
        assert (rows == expected).all()
        assert (scores == np.take_along_axis(truth, expected, axis=1)).all()


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
    with pytest.raises(UserError, match="can't be read as an array"):
        ExactIndex(device="cpu").load(tmp_path)


def test_true_scores_over_shards(vectors, queries, truth):
    shards = Shards([vectors[:7], vectors[7:]])
    np.testing.assert_allclose(true_scores(queries, shards, 10), truth[0][:, :10], atol=2e-6)


def answers(vectors, queries, folder, code, device="cpu"):
    """Runs code in a process of its own, with an index, queries and a helper, and returns what it prints."""
    ExactIndex(device="cpu").build(vectors, [""] * len(vectors), folder)
    np.save(folder / "queries.npy", queries)
    before = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom twotower.index.exact import index as exact\n"
        "folder = Path(sys.argv[1])\nqueries = np.load(folder / 'queries.npy')\n"
        f"index = exact.ExactIndex(device={device!r})\nindex.load(folder)\n"
    )
    command = [sys.executable, "-c", before + code, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


on_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="auto is the GPU, where torch searches")


@pytest.mark.parametrize("device", ["cpu", pytest.param("auto", marks=on_gpu)])
def test_torch_is_loaded_for_large_batches_alone(device, vectors, queries, tmp_path):
    code = (
        "def loaded(): print('torch' in sys.modules)\n"
        "index.search(queries[:1], 10); index.describe(); index.check(); loaded()\n"
        "index.search(queries[:5], 10); loaded()\n"
        "exact.WORTH_TORCH = 20 * index.count * index.dim\n"
        "index.search(queries[:1], 10); index.search(queries[:5], 10); loaded()\n"
        "index.search(queries[:11], 10); loaded()\n"
    )
    assert answers(vectors, queries, tmp_path, code, device) == ["False", "False", "False", "True"]


def test_numpy_and_torch_give_the_same_answers(vectors, queries, tmp_path):
    code = (
        "alone = [index.search(query, 20) for query in queries[:20]] + [index.search(queries[:20], 20)]\n"
        "before = 'torch' in sys.modules\nimport torch\n"
        "together = index.search(queries[:20], 20)\n"
        "few = [np.concatenate(parts) for parts in zip(*alone[:20])], alone[20]\n"
        "same = [(rows == together[1]).all() and np.abs(scores - together[0]).max() < 1e-6 for scores, rows in few]\n"
        "print(before, *same)\n"
    )
    assert answers(vectors, queries, tmp_path, code) == ["False", "True", "True"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_gpu_agrees_with_cpu(vectors, queries, truth, tmp_path):
    index = ExactIndex(device="cuda")
    index.build(vectors, [""] * 3000, tmp_path)
    np.testing.assert_allclose(index.search(queries, 20)[0], truth[0], atol=1e-4)
