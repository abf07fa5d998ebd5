import subprocess
import sys

import numpy as np
import pytest
import torch

from twotower.model.two_tower import TwoTower
from twotower.search.engine import SearchEngine
from twotower.search.query import MlpQuery, open_query_model, tower_encoder
from twotower.text.tokens import TokenBatch

WORDS = 50
QUERIES = [[2, 3, 4], [7, 7, 7, 9], [49], [], list(range(2, 34)), [1, 1, 5]]


def filled(seed=0, **config):
    """A model in which no parameter is at its start: blocks that pass their input through would hide mistakes."""
    torch.manual_seed(seed)
    model = TwoTower(vocabulary_size=WORDS, embedding_dim=24, **{"hidden_dim": 20, "output_dim": 24, **config})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4 + 0.1)
    return model.eval()


def by_numpy(model):
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return MlpQuery(state, count_power=model.query_tower.layers[0].count_power)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"num_layers": 0},
        {"num_layers": 3, "dropout": 0.3, "word_dropout": 0.2},
        {"num_layers": 2, "output_dim": 10},
        {"num_layers": 2, "residual": False},
        {"num_layers": 0, "output_dim": 10},
        {"word_pooling": "mean", "count_power": 1.0},
        {"count_power": 0.0},
        {"shared": False, "document_tower": "gru"},
    ],
)
def test_one_query_by_numpy_is_the_towers_vector(config):
    model = filled(**config)
    encode = by_numpy(model)
    with torch.inference_mode():
        expected = model.encode_queries(TokenBatch.from_rows(QUERIES)).numpy()
    found = np.concatenate([encode(ids) for ids in QUERIES])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_query_tower_is_the_one_that_reads():
    model = filled(shared=False)
    with torch.inference_mode():
        documents = model.encode_documents(TokenBatch.from_rows([[2, 3]])).numpy()
    assert np.abs(by_numpy(model)([2, 3]) - documents).max() > 0.01


def test_a_pooled_vector_of_nothing_but_zeros_is_a_unit_vector():
    model = filled(num_layers=0)
    found = by_numpy(model)([])
    np.testing.assert_allclose(found, np.full((1, 24), 24**-0.5), atol=1e-7)


def test_other_towers_read_as_they_are():
    model = filled(query_tower="gru", document_tower="gru")
    encode = tower_encoder(model)
    with torch.inference_mode():
        expected = model.encode_queries(TokenBatch.from_rows([[5, 6, 7]])).numpy()
    np.testing.assert_allclose(encode([5, 6, 7]), expected, atol=1e-6)


def test_a_run_opens_without_torch_and_reads_as_the_tower(run_dir):
    from twotower.model.checkpoint import load

    path = next(run_dir.glob("checkpoints/*.pt"))
    opened, whole = open_query_model(path), load(path)
    assert (opened.sha256, opened.max_query_length) == (whole.sha256, whole.max_query_length)
    assert opened.tokenizer.hash == whole.tokenizer.hash
    assert isinstance(opened.encode, MlpQuery)
    ids = opened.tokenizer.read("invert a matrix of a matrix")[2]
    np.testing.assert_allclose(opened.encode(ids), tower_encoder(whole.model)(ids), atol=1e-6)


@pytest.mark.parametrize("index", ["faiss_flat", "exact"])
def test_a_search_process_never_imports_torch(run_dir, index):
    code = (
        "import sys; from twotower.search.engine import SearchEngine; "
        f"hits = SearchEngine.open({str(run_dir)!r}, {index!r}).search('invert a matrix').hits; "
        "print(hits[0].doc_id, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, imported = done.stdout.split()
    assert name.startswith("matrix")
    assert imported == "False"


def test_a_recurrent_run_is_searched_with_its_tower(small, tmp_path, monkeypatch):
    monkeypatch.setitem(small.MODEL, "query_tower", "gru")
    monkeypatch.setitem(small.MODEL, "document_tower", "gru")
    monkeypatch.setitem(small.MODEL, "num_layers", 1)
    config = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}
    run = small.make_run(tmp_path / "gru", small.collection(), config)
    hit = SearchEngine.open(run).search("a document without a title about eigenvalues of a matrix", 1).hits[0]
    assert hit.doc_id == "lonely"
