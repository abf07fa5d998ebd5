"""What training writes down of its indexes when one of them fails."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from twotower.callbacks.export import Export, write_documents
from twotower.core.memo import keeping
from twotower.data.collection import Collection
from twotower.data.documents import DocumentStore
from twotower.data.settings import DataSettings
from twotower.index.exact.index import ExactIndex
from twotower.index.export import IndexExportError

TARGETS = {"exact": "twotower.index.exact.ExactIndex", "faiss_flat": "twotower.index.faiss.FaissIndex"}

VECTORS_ND = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


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
        document_vectors=VECTORS_ND,
        query_vectors=None,
        evaluation=None,
        objective="full/mrr_10",
        tokenizer=SimpleNamespace(hash="v"),
        settings=SimpleNamespace(
            seed=0,
            data=DataSettings(),
            indexes={name: {"_target_": target} for name, target in TARGETS.items()},
        ),
        indexes=[],
    )
    return made, noted


def test_every_index_is_recorded(callback):
    made, noted = callback
    made._export_index(VECTORS_ND)
    assert made.context.indexes == ["exact", "faiss_flat"]
    assert noted[1:] == [("index/exact", "index"), ("index/faiss_flat", "index")]


def test_those_written_are_recorded_when_another_fails(callback, monkeypatch):
    made, noted = callback
    monkeypatch.setattr(ExactIndex, "build", lambda *given, **more: 1 / 0)
    with pytest.raises(IndexExportError, match="exact"):
        made._export_index(VECTORS_ND)
    assert made.context.indexes == ["faiss_flat"]
    assert noted[1:] == [("index/faiss_flat", "index")]


def texts(path):
    with DocumentStore(path) as store:
        return [document.text for document in store]


def test_jobs_of_a_sweep_copy_the_document_store_of_the_one_before(callback, tmp_path, monkeypatch):
    context = callback[0].context
    written, write = [], DocumentStore.write
    monkeypatch.setattr(DocumentStore, "write", lambda *given: written.append(given[0]) or write(*given))
    paths = [tmp_path / f"{number}.db" for number in range(6)]
    with keeping():
        for path in paths[:3]:
            write_documents(path, context)
        assert written == paths[:1]
        assert paths[2].read_bytes() == paths[0].read_bytes()
        assert not paths[2].samefile(paths[0])
        paths[2].unlink()  # removed meanwhile by whoever
        write_documents(paths[3], context)
        paths[3].write_bytes(b"changed meanwhile")
        write_documents(paths[4], context)
        assert written == [paths[0], paths[3], paths[4]]
        context.data.collection = dataclasses.replace(context.data.collection, texts=["other"] * 50)
        write_documents(paths[5], context)
    assert texts(paths[4]) == [f"d{number}" for number in range(50)]
    assert texts(paths[5]) == ["other"] * 50
