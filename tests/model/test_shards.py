"""`twotower encode`: what it reads, that it goes on, and that several processes write what one would."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.data.text_list import read_texts
from twotower.model import shards
from twotower.model.encoding import encode
from twotower.model.shards import Plan, complete, encode_shards, open_shards
from twotower.model.two_tower import TwoTower
from twotower.text.tokenizer import Tokenizer

TEXTS = [f"word{number % 7} common text{number}" for number in range(23)] + [""]


@pytest.fixture
def checkpoint(tmp_path):
    tokenizer = Tokenizer.train(TEXTS, {"min_frequency": 1})
    model = TwoTower(vocabulary_size=tokenizer.size, embedding_dim=8, hidden_dim=8, output_dim=8)
    return SimpleNamespace(
        path=tmp_path / "model.pt",
        sha256="abc",
        model=model,
        tokenizer=tokenizer,
        max_query_length=4,
        max_document_length=9,
    )


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"_id": f"d{at}", "text": text}) + "\n" for at, text in enumerate(TEXTS)))
    return path


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_shards_hold_the_vectors_in_order(checkpoint, source, tmp_path, dtype):
    plan = Plan(source=source, folder=tmp_path / "out", dtype=dtype, shard_rows=10)
    done = []
    rows = encode_shards(checkpoint, plan, progress=done.append)
    complete(checkpoint, plan, rows)
    parts, ids = open_shards(plan.folder)
    assert [len(part) for part in parts] == [10, 10, 4]
    assert all(isinstance(part, np.memmap) and part.dtype == dtype for part in parts)
    assert ids == [f"d{at}" for at in range(24)]
    assert sum(done) == 24
    expected = encode(checkpoint.model, checkpoint.tokenizer.encode(TEXTS, 9), side="document")
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-3 if dtype == "float16" else 1e-6)


def test_a_stopped_encoding_goes_on(checkpoint, source, tmp_path, monkeypatch):
    plan = Plan(source=source, folder=tmp_path / "out", shard_rows=10)
    write, written = shards.write_shard, []

    def stopping(*arguments):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(arguments[2])
        write(*arguments)

    monkeypatch.setattr(shards, "write_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        encode_shards(checkpoint, plan)
    with pytest.raises(UserError, match="complete"):
        open_shards(plan.folder)
    before = plan.vectors(0).stat().st_mtime_ns
    monkeypatch.setattr(shards, "write_shard", write)
    complete(checkpoint, plan, encode_shards(checkpoint, plan))
    assert plan.vectors(0).stat().st_mtime_ns == before
    assert len(open_shards(plan.folder)[1]) == 24


def test_processes_write_together_what_one_writes(checkpoint, source, tmp_path):
    alone, shared = (Plan(source=source, folder=tmp_path / name, shard_rows=5) for name in ("one", "three"))
    complete(checkpoint, alone, encode_shards(checkpoint, alone))
    for rank in (2, 0):
        rows = encode_shards(checkpoint, shared, rank=rank, world_size=3)
    with pytest.raises(UserError, match=r"shards \[1, 4\] are missing"):
        complete(checkpoint, shared, rows)
    complete(checkpoint, shared, encode_shards(checkpoint, shared, rank=1, world_size=3))
    names = sorted(path.name for path in alone.folder.iterdir())
    assert names == sorted(path.name for path in shared.folder.iterdir())
    assert all((alone.folder / name).read_bytes() == (shared.folder / name).read_bytes() for name in names)


def test_a_folder_of_something_else_is_refused(checkpoint, source, tmp_path):
    encode_shards(checkpoint, Plan(source=source, folder=tmp_path / "out", shard_rows=10))
    with pytest.raises(UserError, match="dtype float16 instead of float32"):
        encode_shards(checkpoint, Plan(source=source, folder=tmp_path / "out", shard_rows=10, dtype="float32"))


@pytest.mark.parametrize(("text", "message"), [("", "no text"), ('{"id":1,"text":"a"}\n' * 2, "'1' is given twice")])
def test_no_text_and_two_of_one_id_are_refused(checkpoint, tmp_path, text, message):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        encode_shards(checkpoint, Plan(source=tmp_path / "a.jsonl", folder=tmp_path / "out"))


@pytest.mark.parametrize("rank", [0, 1])
def test_two_of_one_id_in_different_shards_are_refused_by_every_process(checkpoint, source, tmp_path, rank):
    with open(source, "a") as file:
        file.write('{"_id": "d3", "text": "another text"}\n')
    plan = Plan(source=source, folder=tmp_path / "out", shard_rows=5)
    with pytest.raises(UserError, match=r"texts\.jsonl: id 'd3' is given twice"):
        encode_shards(checkpoint, plan, rank=rank, world_size=2)


def test_two_ids_of_one_hash_are_two(checkpoint, source, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "blake2b", lambda *_, **__: SimpleNamespace(digest=lambda: b"12345678"))
    assert encode_shards(checkpoint, Plan(source=source, folder=tmp_path / "out", shard_rows=5)) == 24


def test_every_form_of_text_is_read(tmp_path):
    plain = tmp_path / "a.txt"
    plain.write_text("one\ntwo words\n")
    assert list(read_texts(plain)) == [("0", "one"), ("1", "two words")]
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"id": 7, "title": "T", "text": "body"}\n{"text": "q"}\n'))
    assert list(read_texts(packed)) == [("7", "T body"), ("1", "q")]
    wrong = tmp_path / "c.jsonl"
    wrong.write_text('{"text": "x"}\n{"body": "y"}\n')
    with pytest.raises(UserError, match=r"c.jsonl:2: no column holds"):
        list(read_texts(wrong))
    with pytest.raises(UserError, match="No file"):
        list(read_texts(tmp_path / "none.txt"))
    with pytest.raises(UserError, match="float16"):
        Plan(source=plain, folder=tmp_path, dtype="int8")


def texts_of(tmp_path, name, text, *arguments):
    (tmp_path / name).write_text(text)
    return list(read_texts(tmp_path / name, *arguments))


def test_columns_are_taken_by_name_and_side(tmp_path):
    table = "id\ttext\n17\thello world\n"
    assert texts_of(tmp_path, "a.tsv", table) == [("17", "hello world")]
    pair = json.dumps({"query": "q", "positive": "p", "negative": "n"}) + "\n"
    assert texts_of(tmp_path, "pairs.jsonl", pair, "query") == [("0", "q")]
    assert texts_of(tmp_path, "pairs.jsonl", pair, "document") == [("0", "p")]
    assert texts_of(tmp_path, "pairs.jsonl", pair, "document", "negative") == [("0", "n")]
    titled = "_id,title,text\nd1,T,body\n"
    assert texts_of(tmp_path, "corpus.csv", titled) == [("d1", "T body")]
    assert texts_of(tmp_path, "corpus.csv", titled, "document", "text") == [("d1", "body")]
    assert texts_of(tmp_path, "collection.tsv", "7\tone\n8\ttwo\n", "document", "1") == [("7", "one"), ("8", "two")]


@pytest.mark.parametrize(
    ("name", "text", "arguments", "message"),
    [
        (
            "q.jsonl",
            '{"_id": "1", "query": "q"}\n',
            (),
            r"no column holds a document's text; .*--side query reads what is there",
        ),
        ("t.tsv", "7\tone\n8\ttwo\n", (), r"t\.tsv:2: no column holds a document's text; there are: 7, one\."),
        ("t.csv", "id,body\n1,x\n", ("document", "txt"), r"no column holds .* there are: id, body"),
        ("p.jsonl", '{"query": "q", "positive": ["p"]}\n', (), "'positive' must be a text"),
        ("t.txt", "one\n", ("document", "text"), "has no columns"),
        ("t.jsonl", '{"id": "a\\rb", "text": "one"}\n', (), "t.jsonl:1: 'id' holds a control character"),
        ("t.jsonl", '{"id": ["a"], "text": "one"}\n', (), "t.jsonl:1: needs 'id', a text that is not empty"),
        ("t.jsonl", '{"id": "\\ud800", "text": "one"}\n', (), "'id' holds half of a surrogate pair"),
        ("t.jsonl", '{"id": "1", "text": "\\ud800"}\n', (), "'text' holds half of a surrogate pair"),
        ("texts", '{"_id": 1, "text": "one"}\n', (), "looks like JSON"),
        ("t.pdf", "%PDF-1.4\n", (), "what is in it"),
    ],
)
def test_a_column_that_is_not_there_is_named(tmp_path, name, text, arguments, message):
    with pytest.raises(UserError, match=message):
        texts_of(tmp_path, name, text, *arguments)
