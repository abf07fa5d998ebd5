import sqlite3

import pytest

from twotower.core.errors import UserError
from twotower.data import documents
from twotower.data.collection import Collection
from twotower.data.documents import DocumentStore, documents_hash


def make(ids=("a", "b", "c"), **changes):
    base = {
        "name": "small",
        "document_ids": list(ids),
        "titles": ["A", "", "Ü"],
        "texts": ["one", "two\nlines", "drei ß"],
        "metadata": [{"url": "u"}, {}, {"n": 1}],
        "query_ids": [],
        "query_texts": [],
        "judgements": {},
    }
    return Collection(**{**base, **changes})


def test_fetch_keeps_order_and_repeats(tmp_path):
    with DocumentStore.write(tmp_path / "documents.db", make()) as store:
        assert [document.doc_id for document in store.fetch([2, 0, 2])] == ["c", "a", "c"]
        assert [document.row for document in store.fetch_ids(["b", "a"])] == [1, 0]
        assert store.fetch([]) == []
        assert store.ids() == ["a", "b", "c"]
        assert len(store) == store.count == 3
        third = store.fetch([2])[0]
        assert (third.title, third.text, third.metadata) == ("Ü", "drei ß", {"n": 1})
        assert [document.row for document in store] == [0, 1, 2]


@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_that_is_not_there_is_never_another_document(tmp_path, row):
    store = DocumentStore.write(tmp_path / "documents.db", make())
    with pytest.raises(UserError, match=rf"no row {row}; rows run from 0 to 2"):
        store.fetch([0, row])
    with pytest.raises(UserError, match="no document 'zzz'"):
        store.fetch_ids(["zzz"])


def test_many_rows_in_one_query(tmp_path):
    count = 40_000  # more than SQLite takes as separate parameters
    ids = [f"d{number}" for number in range(count)]
    big = make(ids, titles=[""] * count, texts=ids, metadata=None)
    store = DocumentStore.write(tmp_path / "documents.db", big)
    assert [document.text for document in store.fetch(range(count - 1, -1, -1))] == ids[::-1]
    for few in (255, 256, 257):  # the two ways to ask meet here
        assert [document.text for document in store.fetch(range(few, 0, -1))] == ids[few:0:-1]


def test_the_order_asked_for_does_not_hang_on_sqlites(tmp_path, monkeypatch):
    store = DocumentStore.write(tmp_path / "documents.db", make())
    monkeypatch.setattr(documents, "BY_ROW", f"{documents.BY_ROW} ORDER BY row DESC")
    documents._by_row.cache_clear()
    try:
        assert [document.row for document in store.fetch([0, 2, 1, 0])] == [0, 2, 1, 0]
        with pytest.raises(UserError, match="no row 7"):
            store.fetch([0, 7, 1])
    finally:
        documents._by_row.cache_clear()


def test_hash_is_of_content_and_order(tmp_path):
    assert DocumentStore.write(tmp_path / "one.db", make()).hash == documents_hash(make())
    others = [make(("b", "a", "c")), make(titles=["A", "", ""]), make(texts=["one", "two", "three"])]
    assert len({documents_hash(item) for item in [make(), *others]}) == 4


def test_a_failed_write_leaves_the_earlier_store(tmp_path):
    path = tmp_path / "documents.db"
    before = DocumentStore.write(path, make()).hash
    with pytest.raises(sqlite3.Error):
        DocumentStore.write(path, make(texts=["fine", 3.5j, "x"]))
    assert DocumentStore(path).hash == before
    assert [item.name for item in tmp_path.iterdir()] == ["documents.db"]


def test_what_is_not_a_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="no document store"):
        DocumentStore(tmp_path / "absent.db")
    (tmp_path / "text.db").write_text("hello, this is not a database at all")
    with pytest.raises(UserError, match="not a document store"):
        DocumentStore(tmp_path / "text.db")
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.executescript("CREATE TABLE meta (key TEXT, value TEXT); INSERT INTO meta VALUES ('schema', '99');")
    connection.close()
    with pytest.raises(UserError, match="schema 99"):
        DocumentStore(tmp_path / "other.db")
    DocumentStore.write(tmp_path / "cut.db", make(texts=["x" * 9000] * 3))
    (tmp_path / "cut.db").write_bytes((tmp_path / "cut.db").read_bytes()[:6000])
    with pytest.raises(UserError, match=r"cut.db"):
        DocumentStore(tmp_path / "cut.db").fetch([0, 1, 2])


def test_the_store_holds_what_people_search(tmp_path):
    plain = make()
    wholes = [f"whole {text}" for text in plain.texts]
    collection = make(indexed_texts=wholes, indexed_as="whole texts")
    with DocumentStore.write(tmp_path / "one.db", collection) as store:
        assert [document.text for document in store] == wholes
        assert store.indexed_as == "whole texts"
        assert store.hash == documents_hash(collection) != documents_hash(plain)
    with DocumentStore.write(tmp_path / "two.db", plain) as store:
        assert store.indexed_as == ""
