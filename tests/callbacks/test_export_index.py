"""What training writes down of its indexes when one of them fails."""

from types import SimpleNamespace

import numpy as np
import pytest

from twotower.callbacks.export import Export
from twotower.data.collection import Collection
from twotower.index.exact import ExactIndex
from twotower.index.export import IndexExportError

TARGETS = {"exact": "twotower.index.exact.ExactIndex", "faiss_flat": "twotower.index.faiss.FaissIndex"}


@pytest.fixture
def callback(tmp_path):
    ids = [f"d{number}" for number in range(50)]
    collection = Collection(
        name="small", document_ids=ids, titles=[""] * 50, texts=ids, query_ids=[], query_texts=[], judgements={}
    )
    (tmp_path / "m.pt").write_bytes(b"model")
    noted = []
    made = Export()
    made.context = SimpleNamespace(
        run_dir=tmp_path,
        data=SimpleNamespace(collection=collection),
        record=SimpleNamespace(add_artefact=lambda path, kind: noted.append((str(path), kind))),
        exported=tmp_path / "m.pt",
        document_vectors=np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32),
        query_vectors=None,
        tokenizer=SimpleNamespace(hash="v"),
        config={"seed": 0, "index": {name: {"_target_": target} for name, target in TARGETS.items()}},
        indexes=[],
    )
    return made, noted


def test_every_index_is_recorded(callback):
    made, noted = callback
    made._export_index()
    assert made.context.indexes == ["exact", "faiss_flat"]
    assert noted[1:] == [("index/exact", "index"), ("index/faiss_flat", "index")]


def test_those_written_are_recorded_when_another_fails(callback, monkeypatch):
    made, noted = callback
    monkeypatch.setattr(ExactIndex, "build", lambda *given, **more: 1 / 0)
    with pytest.raises(IndexExportError, match="exact"):
        made._export_index()
    assert made.context.indexes == ["faiss_flat"]
    assert noted[1:] == [("index/faiss_flat", "index")]
