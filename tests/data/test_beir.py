import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.core.errors import UserError
from twotower.data import beir

CORPUS = [
    {"_id": "d1", "title": "T", "text": "one"},
    {"_id": "d2", "text": "two"},
    {"_id": 3, "title": None, "text": ""},
]
QUERIES = [{"_id": "q1", "text": "first"}, {"_id": "q2", "text": "second"}]
HEADER = "query-id\tcorpus-id\tscore\n"


def write(folder, *, corpus=None, queries=None, splits=None, candidates=None):
    (folder / "qrels").mkdir(parents=True, exist_ok=True)

    def lines(items):
        return items if isinstance(items, str) else "".join(json.dumps(item) + "\n" for item in items)

    (folder / "corpus.jsonl").write_text(lines(corpus if corpus is not None else CORPUS), encoding="utf-8")
    (folder / "queries.jsonl").write_text(lines(queries if queries is not None else QUERIES), encoding="utf-8")
    for name, content in (splits or {"train": HEADER + "q1\td1\t1\n"}).items():
        (folder / "qrels" / f"{name}.tsv").write_text(content)
    if candidates is not None:
        (folder / "candidates.tsv").write_text(candidates)
    return folder


def test_reads_documents_queries_graded_splits_and_candidates(tmp_path):
    splits = {"train": HEADER + "q2\td1\t3\nq1\t3\t0\nq1\td2\t1.5\n", "odd-name": "q1\td1\t1\n"}
    found = beir.load(write(tmp_path / "mine", splits=splits, candidates="q1\td2\t0\nq1\td1\t1\n"))
    assert found.name == "mine"
    assert found.document_ids == ["d1", "d2", "3"]
    assert found.titles == ["T", "", ""]
    assert found.query_texts == ["first", "second"]
    train = found.judgements["train"]
    assert list(zip(train.query, train.document, train.grade, strict=True)) == [(0, 1, 1.5), (0, 2, 0), (1, 0, 3)]
    assert len(found.judgements["odd-name"]) == 1
    assert found.candidates.document.tolist() == [1, 0]


@pytest.mark.parametrize("header", ["", "query-id\tcorpus-id\tlabel\n"])
def test_candidates_with_and_without_header(tmp_path, header):
    found = beir.load(write(tmp_path, candidates=header + "q2\td2\t1\n"))
    assert found.candidates.query.tolist() == [1]


def test_gzipped_files_are_read(tmp_path):
    write(tmp_path)
    plain = (tmp_path / "corpus.jsonl").read_bytes()
    (tmp_path / "corpus.jsonl").unlink()
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress(plain))
    assert len(beir.load(tmp_path).document_ids) == 3
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress(plain)[:-9])
    with pytest.raises(UserError, match=r"corpus.jsonl.gz: cannot be read"):
        beir.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": '{"_id": "d1", "text": "a"}\n{"_id": "d2"\n'}, r"corpus.jsonl:2: not valid JSON"),
        ({"corpus": '{"_id": "d1", "text": "a"}\n\n{"_id": "d2", "text": "b"}\n'}, r"corpus.jsonl:2: empty line"),
        ({"corpus": '{"_id": "d1", "text": "a"}\n[1]\n'}, r"corpus.jsonl:2: expected a JSON object, found list"),
        ({"corpus": [*CORPUS, {"_id": "d1", "text": "x"}]}, r"corpus.jsonl:4: document id 'd1' was already .* line 1"),
        ({"corpus": [{"_id": "d1"}]}, r"corpus.jsonl:1: needs 'text'"),
        ({"corpus": [{"text": "x"}]}, r"corpus.jsonl:1: needs '_id'"),
        ({"corpus": [{"_id": "d1", "text": "\ud800"}]}, r"corpus.jsonl:1: 'text' holds half of a surrogate"),
        ({"corpus": [*CORPUS, {"_id": "d\t4", "text": "x"}]}, r"corpus.jsonl:4: '_id' holds a control .*: 'd\\t4'"),
        ({"corpus": [{"_id": "\x1b[2Jd", "text": "x"}]}, r"corpus.jsonl:1: '_id' holds a control .*: '\\x1b\[2Jd'"),
        ({"queries": [{"_id": "q\u2028", "text": "x"}]}, r"queries.jsonl:1: '_id' holds a control .*: 'q\\u2028'"),
        ({"splits": {"train": HEADER + "q1\td\x1b9\t1\n"}}, r"train.tsv:2: document id 'd\\x1b9' is not in"),
        ({"corpus": ""}, r"corpus.jsonl is empty"),
        ({"queries": [*QUERIES, {"_id": "q1", "text": "x"}]}, r"queries.jsonl:3: query id 'q1'"),
        ({"splits": {"train": HEADER + "q1\td9\t1\n"}}, r"train.tsv:2: document id 'd9' is not in corpus.jsonl"),
        ({"splits": {"train": HEADER + "q9\td1\t1\n"}}, r"train.tsv:2: query id 'q9' is not in queries.jsonl"),
        ({"splits": {"train": HEADER + "q1\td1\n"}}, r"train.tsv:2: needs query-id, corpus-id, score.* 2 columns"),
        ({"splits": {"train": HEADER + "q1\td1\tnan\n"}}, r"train.tsv:2: score must be a number; found 'nan'"),
        ({"splits": {"train": "q1\td1\t1\nq1\td1\t2\n"}}, r"train.tsv:2: this pair has score 2 here and 1 on line 1"),
        ({"candidates": "q1\td9\t1\n"}, r"candidates.tsv:1: document id 'd9'"),
    ],
)
def test_errors_name_file_and_line(tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        beir.load(write(tmp_path, **changes))
    assert str(caught.value).isprintable()


def test_ids_that_print_and_mean_nothing_special_are_taken(tmp_path):
    ids = ["GROẞE/ä ö", "日本\u3000語", "a\u00a0b", "z\u200bz", "http://e/x?a=1&b=[2]"]
    found = beir.load(
        write(tmp_path, corpus=[{"_id": item, "text": "x"} for item in ids], splits={"train": f"q1\t{ids[0]}\t1\n"})
    )
    assert found.document_ids == ids


def test_text_that_is_not_utf8_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "queries.jsonl").write_bytes(b'{"_id": "q1", "text": "a"}\n{"_id": "q2", "text": "\xff"}\n')
    with pytest.raises(UserError, match=r"queries.jsonl:2: not UTF-8"):
        beir.load(tmp_path)


def test_missing_parts_are_named(tmp_path):
    for path, message in ((None, "data.path=DIR"), (tmp_path / "no", "is not a folder"), (tmp_path, "no corpus.jsonl")):
        with pytest.raises(UserError, match=message):
            beir.load(path)
    write(tmp_path)
    (tmp_path / "qrels" / "train.tsv").unlink()
    with pytest.raises(UserError, match="has no judgements"):
        beir.load(tmp_path)


def test_a_split_with_only_a_header_is_empty_when_asked_for(tmp_path):
    found = beir.load(write(tmp_path, splits={"train": HEADER + "q1\td1\t1\n", "dev": HEADER}))
    with pytest.raises(UserError, match="split 'dev' is empty"):
        found.split("dev")


@settings(max_examples=150, deadline=None)
@given(which=st.sampled_from(["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"]), content=st.binary(max_size=80))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, which, content):
    folder = write(tmp_path_factory.mktemp("fuzz"))
    (folder / which).write_bytes(content)
    try:
        beir.load(folder)
    except UserError as error:
        message = str(error)
        named = which.rpartition("/")[2] in message
        if not named:
            raise


@pytest.mark.parametrize("name", ["tldr", "squad-mini", "msmarco-qa-mini", "wikiqa"])
def test_real_collections_load_and_do_not_leak(shared_data, name):
    from twotower.data.summary import is_leak, shared_between
    from twotower.text.tokenizer import Tokenizer

    found = beir.load(shared_data(name))
    assert not is_leak(shared_between(found, "train", "dev", Tokenizer.train(["a"], {})))


def test_people_may_search_another_text_than_is_trained_on(tmp_path):
    corpus = [{"_id": "d1", "title": "T", "text": "one", "whole": "zero one"}, {"_id": "d2", "text": "two"}]
    folder = write(tmp_path, corpus=corpus)
    found, plain = beir.load(folder, indexed_text="whole"), beir.load(folder)
    assert found.document_texts() == plain.document_texts() == ["T one", "two"]
    assert found.searched_texts() == ["T zero one", "two"]
    assert plain.searched_texts() == ["T one", "two"]
    assert "whole" in found.indexed_as
    assert found.fingerprint == plain.fingerprint  # no figure depends on it


def test_a_field_that_no_line_has_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"indexed_text=txet.*there are: _id, text, title.*text"):
        beir.load(write(tmp_path), indexed_text="txet")
