"""Judgements in every form they come in, ids treated alike, and lines of ids that are not there."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from pathlib import Path

import pyarrow
import pytest

from twotower.core.errors import UserError
from twotower.data import beir, msmarco
from twotower.data.lines import read_lines
from twotower.data.summary import describe_split


def folder(path, qrels, name="train.tsv", corpus=("d1", "d2"), queries=("q1", "q2")):
    (path / "qrels").mkdir(parents=True, exist_ok=True)
    for file, ids in (("corpus", corpus), ("queries", queries)):
        lines = "".join(json.dumps({"_id": item, "text": f"text of {item}"}) + "\n" for item in ids)
        (path / f"{file}.jsonl").write_text(lines)
    (path / "qrels" / name).write_text(qrels)
    return path


def judged(found):
    part = found.judgements["train"]
    rows = zip(part.query, part.document, part.grade, strict=True)
    return [(found.query_ids[q], found.document_ids[d], float(g)) for q, d, g in rows]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.tsv", "q1\td1\t2\nq2\td2\t1\n"),
        ("train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t1\n"),
        ("train.tsv", "corpus-id\tscore\tquery-id\nd1\t2\tq1\nd2\t1\tq2\n"),
        ("train.tsv", "q1 0 d1 2\nq2 0 d2 1\n"),
        ("train.tsv", "q1\t0\td1\t2\nq2\tQ0\td2\t1\n"),
        ("train.tsv", "topic iteration docno rel\nq1   0  d1 2\nq2 0 d2 1\n"),
        ("train.txt", "q1 0 d1 2\r\nq2 0 d2 1\r\n"),
        ("train.qrels", "q1 d1 2\nq2 d2 1\n"),
        ("train.csv", "query-id,corpus-id,score\nq1,d1,2\nq2,d2,1\n"),
        ("train.jsonl", '{"query-id":"q1","corpus-id":"d1","score":2}\n{"qid":"q2","docid":"d2"}\n'),
        ("train.tsv", "q1 \td1\t2\nq2\t d2 \t1\n"),
        ("train.tsv", "\ufeffq1\td1\t2\nq2\u200b\td2\t1\n"),
        ("train.tsv", '"q1"\t"d1"\t"2"\n"q2"\t"d2"\t"1"\n'),
        ("train.tsv", "query-id,corpus-id,score\nq1,d1,2\nq2,d2,1\n"),
        ("train.tsv", "split\tquery-id\tcorpus-id\tscore\tnote\ntrain\tq1\td1\t2\tx\ntrain\tq2\td2\t1\ty\n"),
        ("train.csv", "q1,d1,2\nq2,d2,1\n"),
        ("train.csv", "q1,0,d1,2\nq2,0,d2,1\n"),
        ("train.csv", "query-id|corpus-id|score\nq1|d1|2\nq2|d2|1\n"),
        ("train.csv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t1\n"),
        ("train.TSV", "q1\td1\t2\nq2\td2\t1\n"),
        ("train.json", '{"q1": {"d1": 2}, "q2": {"d2": 1}}'),
        ("train.json", '[\n\n{"qid": "q1", "docid": "d1", "score": 2}, {"qid": "q2", "docid": "d2"}]\n'),
    ],
)
def test_every_form_of_judgements(tmp_path, name, text):
    assert judged(beir.load(folder(tmp_path, text, name))) == [("q1", "d1", 2.0), ("q2", "d2", 1.0)]


@pytest.mark.parametrize("text", ["q1\td1\nq2\td2\n", "q1 d1\nq2 d2\n", "query-id\tcorpus-id\nq1\td1\nq2\td2\n"])
def test_two_columns_are_relevant_pairs(tmp_path, text):
    assert judged(beir.load(folder(tmp_path, text))) == [("q1", "d1", 1.0), ("q2", "d2", 1.0)]


def test_blanks_around_ids_are_no_part_of_them_anywhere(tmp_path):
    found = beir.load(folder(tmp_path, "q1\td1 \t1\n q2\td2\t1\n", corpus=("d1 ", "d2"), queries=(" q1", "q2\u00a0")))
    assert judged(found) == [("q1", "d1", 1.0), ("q2", "d2", 1.0)]
    with pytest.raises(UserError, match=r"corpus\.jsonl:2: document id 'd1' was already given"):
        beir.load(folder(tmp_path, "q1\td1\t1\n", corpus=("d1 ", "d1")))


def test_lines_of_ids_that_are_not_there_are_refused_or_left_out_and_counted(tmp_path):
    path = folder(tmp_path, "q1\td1\t1\nq1\td9\t1\nq9\td1\t1\n")
    with pytest.raises(UserError, match=r"train\.tsv:2: document id 'd9' .*data\.missing=skip"):
        beir.load(path)
    found = beir.load(path, missing="skip")
    assert judged(found) == [("q1", "d1", 1.0)]
    assert found.notes == ("2 lines of train judge documents or queries that the collection lacks, and are left out.",)
    with pytest.raises(
        UserError, match=r"data\.missing=skipp is not known; choose error or skip\. Did you mean 'skip'"
    ):
        beir.load(path, missing="skipp")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\n", r"train\.tsv:1: needs query-id, corpus-id, score .* found 1 columns"),
        ("q1 0 d1 1 x\n", "found 5 columns"),
        ("q1\td1\t1\nq2 0 d2 1\n", r"train\.tsv:2: needs .* 3 columns as in the first line; found 4"),
        ("q1 0 d1 x\nq2 0 d2 1\n", r"train\.tsv:1: score must be a number; found 'x'"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        beir.load(folder(tmp_path, text))


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda raw: pyarrow.compress(raw, codec="zstd", asbytes=True),
    "zip": lambda raw: zipped(raw),
    "tsv": gzip.compress,  # packed, and not called so
}


def zipped(raw, name="inside"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, raw)
    return file.getvalue()


@pytest.mark.parametrize("packer", PACKERS)
def test_files_may_be_packed_whatever_their_names_say(tmp_path, packer):
    folder(tmp_path, "")
    (tmp_path / "qrels" / "train.tsv").unlink()
    end = "" if packer == "tsv" else f".{packer}"
    (tmp_path / "qrels" / f"train.qrels{end}").write_bytes(PACKERS[packer](b"q1 0 d1 2\nq2 0 d2 1\n"))
    corpus = tmp_path / "corpus.jsonl"
    (tmp_path / f"Corpus.JSONL{end}").write_bytes(PACKERS[packer](corpus.read_bytes()))
    corpus.unlink()
    (tmp_path / "qrels" / "._train.tsv").write_bytes(b"\0\5")  # what a Mac leaves beside
    assert judged(beir.load(tmp_path)) == [("q1", "d1", 2.0), ("q2", "d2", 1.0)]


def test_a_pipe_is_read_from_its_first_byte():
    lines = [f"line {number}" for number in range(3000)]  # more than a buffer, less than a pipe holds
    reading, writing = os.pipe()
    with open(writing, "w") as file:
        file.write("\n".join(lines))
    assert [line for _, line in read_lines(Path(f"/dev/fd/{reading}"))] == lines
    os.close(reading)


def test_only_what_is_packed_is_unpacked(tmp_path):
    (tmp_path / "a.txt").write_text("BZhang wrote it\n")
    assert [line for _, line in read_lines(tmp_path / "a.txt")] == ["BZhang wrote it"]
    (tmp_path / "a.zip").write_bytes(zipped(b"inside\n", "./a.txt"))
    assert [line for _, line in read_lines(tmp_path / "a.zip")] == ["inside"]


def test_a_packed_file_that_is_damaged_is_named(tmp_path):
    folder(tmp_path, "")
    for packer in ("gz", "bz2", "xz", "zip", "zst"):
        raw = bytearray(PACKERS[packer]((tmp_path / "corpus.jsonl").read_bytes()))
        raw[len(raw) // 2] ^= 0xFF
        for name, part in (("flipped", raw), ("cut", raw[:-9])):
            (tmp_path / f"{name}.{packer}").write_bytes(part)
            with pytest.raises(UserError, match=rf"{name}\.{packer}"):
                list(read_lines(tmp_path / f"{name}.{packer}"))


def test_two_files_of_one_split_are_refused(tmp_path):
    folder(tmp_path, "q1\td1\t1\n")
    with pytest.raises(UserError, match=r"are both of split 'train'"):
        beir.load(folder(tmp_path, "q1 0 d1 1\n", "train.qrels"))


def test_tables_and_mapped_columns(tmp_path):
    from pyarrow import parquet

    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.csv").write_text("pid,title,body\n1,T,one\n2,,two\n")
    parquet.write_table(pyarrow.table({"pid": [7, 8], "body": ["x", "y"]}), tmp_path / "queries.parquet")
    (tmp_path / "qrels" / "train.csv").write_text("q,pid,score\n7,1,1\n8,2,3\n")
    columns = {"_id": "pid", "text": "body", "query-id": "q", "corpus-id": "pid"}
    found = beir.load(tmp_path, columns=columns)
    assert (found.document_ids, found.titles, found.texts) == (["1", "2"], ["T", ""], ["one", "two"])
    assert judged(found) == [("7", "1", 1.0), ("8", "2", 3.0)]
    with pytest.raises(UserError, match=r"data\.source\.columns\.id is not a column of ours"):
        beir.load(tmp_path, columns={"id": "pid"})


def test_each_table_may_call_its_columns_otherwise(tmp_path):
    folder(tmp_path, "topic,doc,grade\n7,1,2\n", "train.csv")
    for name in ("corpus.jsonl", "queries.jsonl"):
        (tmp_path / name).unlink()
    (tmp_path / "corpus.csv").write_text("text,pid,body\nold,1,one\n")  # `text` is not what is meant
    (tmp_path / "queries.csv").write_text("qid,query\n7,what\n")
    columns = {
        "corpus": {"_id": "pid", "text": "body"},
        "queries": {"_id": "qid", "text": "query"},
        "qrels": {"query-id": "topic", "corpus-id": "doc", "score": "grade"},
    }
    found = beir.load(tmp_path, columns=columns)
    assert (found.texts, found.query_texts, judged(found)) == (["one"], ["what"], [("7", "1", 2.0)])
    columns["corpus"]["title"] = "body"  # one column for two of ours
    found = beir.load(tmp_path, columns=columns)
    assert (found.titles, found.texts) == (["one"], ["one"])
    with pytest.raises(UserError, match=r"columns\.documents is no table of ours"):
        beir.load(tmp_path, columns={"documents": {"_id": "pid"}})
    with pytest.raises(UserError, match=r"corpus\.csv:2: needs '_id'.*It has: text, pid, body"):
        beir.load(tmp_path)


def test_queries_without_a_relevant_document_are_counted(tmp_path):
    found = beir.load(folder(tmp_path, "q1\td1\t1\nq2\td1\t0\n"))
    assert describe_split(found.judgements["train"])["without_relevant"] == 1


def ranking(path):
    files = {
        "collection.tsv": "0\tthe first\n1\tthe second\n2\tthe third\n",
        "queries.train.tsv": "11\twhy first\n12\twhy second\n",
        "queries.dev.small.tsv": "12\twhy second\n13\twhy third\n",
        "qrels.train.tsv": "11\t0\t0\t1\n",
        "qrels.dev.small.tsv": "13\t0\t2\t1\n",
        "qidpidtriples.train.full.2.tsv": "11\t0\t1\n99\t0\t1\n",
    }
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def test_msmarco_ranking_files(tmp_path):
    found = msmarco.load(ranking(tmp_path))
    assert (found.document_ids, found.texts[2]) == (["0", "1", "2"], "the third")
    assert found.query_ids == ["12", "13", "11"]
    assert judged(found) == [("11", "0", 1.0)]
    dev = found.judgements["dev"]
    assert [(found.query_ids[q], found.document_ids[d]) for q, d in zip(dev.query, dev.document, strict=True)] == [
        ("13", "2")
    ]
    assert [found.query_ids[row] for row in found.candidates.query] == ["11", "11"]
    assert found.candidates.document.tolist() == [0, 1]
    (tmp_path / "qrels.dev.small.tsv").write_text("13\t0\t7\t1\n")
    with pytest.raises(UserError, match=r"qrels\.dev\.small\.tsv:1: document id '7'"):
        msmarco.load(tmp_path)
    assert "1 lines of dev" in msmarco.load(tmp_path, missing="skip").notes[0]


def test_msmarco_triples_of_texts(tmp_path):
    (tmp_path / "triples.train.small.tsv").write_text("q one\tp one\tn one\nq two\tp two\tn two\n")
    found = msmarco.load(tmp_path / "triples.train.small.tsv")
    assert found.query_texts == ["q one", "q two"]
    assert found.texts == ["p one", "n one", "p two", "n two"]
