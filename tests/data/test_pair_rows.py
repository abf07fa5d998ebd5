"""The layouts in which others keep training pairs, and the kinds of files they come in."""

import csv
import gzip
import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twotower.core.errors import UserError
from twotower.data import jsonl

PASSAGES = [{"docid": "1", "title": "T", "text": "x"}, {"docid": "2", "title": "", "text": "y"}]


def load(tmp_path, *rows, name="pairs.jsonl", **settings):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / name).write_text(text, encoding="utf-8")
    return jsonl.load(tmp_path / name, splits={"train": 1.0}, **settings)


def judged(found):
    """(query, title, text, grade) of every judgement."""
    (judgements,) = found.judgements.values()
    rows = zip(judgements.query, judgements.document, judgements.grade, strict=True)
    return {(found.query_texts[q], found.titles[d], found.texts[d], float(g)) for q, d, g in rows}


TRIPLET = {("q", "", "p", 1.0), ("q", "", "n", 0.0), ("q", "", "m", 0.0)}


@pytest.mark.parametrize(
    "row",
    [
        {"query": "q", "positive": "p", "negatives": ["n", "m"]},
        {"anchor": "q", "positive": "p", "negative": ["n", "m"]},
        {"anchor": "q", "positive": "p", "negative_1": "n", "negative_2": "m"},
        {"question": "q", "answer": "p", "negative": "n", "negative_10": "m"},
        {"query": "q", "pos": ["p"], "neg": ["n", "m"]},
        {"query_id": "7", "query": "q", "positive": [{"text": "p"}], "neg": ["n", "m"], "prompt": None},
        ["q", "p", "n", "m"],
        {
            "dataset": "nq",
            "question": "q",
            "answers": ["a"],
            "positive_ctxs": [{"title": "", "text": "p", "score": 1000, "title_score": 1, "passage_id": "3"}],
            "negative_ctxs": [{"title": "", "text": "n"}],
            "hard_negative_ctxs": [{"title": "", "text": "m", "psg_id": 5}],
        },
        {
            "query_id": "q7",
            "query": "q",
            "positive_passages": [{"docid": "1", "title": "", "text": "p"}],
            "negative_passages": [{"docid": "2", "title": "", "text": "n"}, {"docid": "3", "text": "m"}],
        },
    ],
)
def test_every_layout_gives_the_same_triplet(tmp_path, row):
    found = load(tmp_path, row)
    assert judged(found) == TRIPLET
    assert {found.texts[document] for document in found.candidates.document} == {"p", "n", "m"}


def test_titles_and_ids_of_the_file_are_kept(tmp_path):
    row = {"query_id": "q7", "query": "q", "positive_passages": PASSAGES[:1], "negative_passages": PASSAGES[1:]}
    found = load(tmp_path, row)
    assert (found.query_ids, found.document_ids, found.titles) == (["q7"], ["1", "2"], ["T", ""])
    again = load(tmp_path, row, {"query": "r", "positive": "z"})
    assert (again.query_ids, again.document_ids) == (["q0", "q1"], ["d0", "d1", "d2"])


def test_labels_are_judgements(tmp_path):
    rows = [
        {"sentence1": "q", "sentence2": "a", "label": 1},
        {"sentence1": "q", "sentence2": "b", "label": 0},
        {"sentence1": "q", "sentence2": "c", "label": "2"},
        {"sentence1": "q", "sentence2": "d", "label": True},
    ]
    assert judged(load(tmp_path, *rows)) == {
        ("q", "", name, grade) for name, grade in [("a", 1), ("b", 0), ("c", 2), ("d", 1)]
    }


def test_similarities_need_a_threshold(tmp_path):
    rows = [{"sentence1": "q", "sentence2": text, "score": score} for text, score in (("a", 0.8), ("b", 0.2))]
    with pytest.raises(UserError, match=r"pairs\.jsonl:1: 'score' is 0\.8, .*data\.source\.threshold=0\.5"):
        load(tmp_path, *rows)
    assert judged(load(tmp_path, *rows, threshold=0.5)) == {("q", "", "a", 1.0), ("q", "", "b", 0.0)}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "q", "positive": "p", "negativ": "n"}, "'negativ' is no key .*Did you mean 'negative'.*ignore"),
        ({"query": "q", "positive": "p", "url": "n"}, r"'url' is no key .*data\.source\.ignore=\[url\]"),
        ({"query": "q", "question": "r", "positive": "p"}, "'query' and 'question' both name the query"),
        ({"query": "q", "pos": ["p"], "positive": "p"}, "'positive' and 'pos' both name the positive"),
        ({"query": "q", "positive": "p", "label": "yes"}, "'label' must be a number"),
        ({"query": "q", "positive": "p", "label": -1}, "'label' is -1, which is no grade"),
        ({"query": "q", "positive_passages": [{"docid": "1"}]}, "needs passages with a 'text'"),
        ({"query": "q", "positive_passages": [{"text": "p", "txet": "n"}]}, "'txet', which no layout has"),
        ({"utterance": "q", "positive": "p"}, "'utterance' is no key"),
        (["q"], "a list must hold a query, a positive"),
        (["q", 3], "a list must hold a query, a positive"),
    ],
)
def test_what_no_layout_has_is_refused_by_name(tmp_path, row, message):
    with pytest.raises(UserError, match=f"pairs.jsonl:1: .*{message}"):
        load(tmp_path, row)


def test_columns_are_mapped_and_left_out_by_config(tmp_path):
    row = {"utterance": "q", "reply": "p", "bad": ["n", "m"], "url": "x"}
    columns = {"query": "utterance", "positive": "reply", "negatives": "bad"}
    assert judged(load(tmp_path, row, columns=columns, ignore=["url"])) == TRIPLET
    with pytest.raises(UserError, match=r"has no column 'replies'; there are: utterance, reply, bad, url.*'reply'"):
        load(tmp_path, row, columns={"positive": "replies"})


def test_keys_that_are_not_used_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        load(tmp_path, {"query": "q", "pos": ["p"], "neg": ["n"], "pos_scores": [0.9], "neg_scores": [0.1]})
    assert "not used in training: neg_scores, pos_scores" in caplog.text


ROWS = [
    {"query": "q, one", "positive": 'p "quoted"\nline', "negative": "n", "split": "train"},
    {"query": "r", "positive": "s", "negative": "n", "split": "dev"},
]


def write(folder, kind):
    path = folder / f"pairs.{kind}"
    if kind == "csv":
        with open(path, "w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, ROWS[0])
            writer.writeheader()
            writer.writerows(ROWS)
    elif kind == "json":
        path.write_text(json.dumps(ROWS, indent=1))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        datasets = pytest.importorskip("datasets")
        datasets.Dataset.from_list(ROWS).save_to_disk(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl.gz", "parquet", "saved"])
def test_every_kind_of_file_gives_the_same_collection(tmp_path, kind):
    expected = jsonl.load(write(tmp_path, "json"))
    found = jsonl.load(write(tmp_path, kind))
    assert found.fingerprint == expected.fingerprint
    assert found.texts == ['p "quoted"\nline', "n", "s"]
    assert {split: len(part) for split, part in found.judgements.items()} == {"train": 2, "dev": 2}


def test_a_table_without_a_header_has_its_columns_by_place(tmp_path):
    (tmp_path / "triples.tsv").write_text("q\tp\tn\nr\ts\tn\n")
    columns = {"query": 0, "positive": 1, "negative": 2}
    found = jsonl.load(tmp_path / "triples.tsv", columns=columns)
    assert (found.query_texts, found.texts) == (["q", "r"], ["p", "n", "s"])
    with pytest.raises(UserError, match=r"triples.tsv:2: 'q' is no key"):
        jsonl.load(tmp_path / "triples.tsv")


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_marks_may_part_a_csv(tmp_path, mark):
    (tmp_path / "pairs.csv").write_text(f"query{mark}positive\nwhat, now{mark}this, then\n")
    assert jsonl.load(tmp_path / "pairs.csv").texts == ["this, then"]


def test_marks_within_quotes_part_nothing(tmp_path):
    (tmp_path / "pairs.csv").write_text('"what, is, this";answer\n"a, b\n, c";d\n')
    assert jsonl.load(tmp_path / "pairs.csv", columns={"query": 0, "positive": 1}).texts == ["answer", "d"]
    (tmp_path / "pairs.csv").write_text('"a, b\n, c";d\n')
    assert jsonl.load(tmp_path / "pairs.csv", columns={"query": 0, "positive": 1}).texts == ["d"]


def test_a_cell_may_hold_a_list_and_is_no_text_then(tmp_path):
    (tmp_path / "pairs.csv").write_text('query,pos,negatives\nq,p,"[""n"", ""m""]"\nr,[1] a text,\n')
    assert jsonl.load(tmp_path / "pairs.csv").texts == ["p", "n", "m", "[1] a text"]
    (tmp_path / "pairs.csv").write_text("query,pos,negatives\nq,p,\"['n', 'm']\"\n")
    with pytest.raises(UserError, match=r"pairs\.csv:2: 'negatives' looks like a list, and is no JSON"):
        jsonl.load(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": " ", "positive": "p"}, "needs 'query', a text; found ' '"),
        ({"query": "q", "pos": [""]}, "needs 'pos"),
        ({"query": "q", "pos": ["p", " "]}, "'pos' holds an empty text"),
        ({"query": "q", "positive_passages": [{"docid": "1", "text": ""}]}, "'positive_passages' holds an empty text"),
    ],
)
def test_empty_texts_are_refused(tmp_path, row, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, row)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pairs.json", '{\n"data": [{"query": "q"}]\n}\n', r"a list of JSON objects, .* found one object: data"),
        ("pairs.json", '{"query": "q",\n{"query": "r", "positive": "p"}\n', r"pairs\.json:1: not valid JSON"),
        ("pairs.jsonl", '[\n{"query": "q", "positive": "p"}\n]\n', r"a list over several lines\? .* ends in \.json"),
    ],
)
def test_json_of_another_form_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        jsonl.load(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [("query,positive\na\n", "pairs.csv:2: needs 2 columns"), ("query,query\n", "pairs.csv:1: the header line needs")],
)
def test_a_malformed_table_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        jsonl.load(tmp_path / "pairs.csv")


def test_splits_by_name_of_file_and_of_a_saved_dictionary(tmp_path):
    for name in ("train.jsonl", "validation.jsonl", "readme.md"):
        (tmp_path / name).write_text(json.dumps({"query": name, "positive": f"p {name}"}) + "\n")
    assert set(jsonl.load(tmp_path).judgements) == {"train", "dev"}
    datasets = pytest.importorskip("datasets")
    parts = {name: datasets.Dataset.from_list([{"query": name, "positive": "p"}]) for name in ("train", "validation")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert set(jsonl.load(tmp_path / "saved").judgements) == {"train", "dev"}
    (tmp_path / "saved" / "train" / "state.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read as a folder of save_to_disk"):
        jsonl.load(tmp_path / "saved")
