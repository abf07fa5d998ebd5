"""Data sets read by the real `datasets` library: files, saved folders, streams, and the hub's retrieval layout."""

from __future__ import annotations

import json

import pytest

from twotower.core.errors import UserError
from twotower.data import beir, hf

datasets = pytest.importorskip("datasets", reason="datasets isn't installed")

ROWS = [{"utterance": f"question {number}", "reply": f"answer {number}", "score": 1.0} for number in range(40)]
NAMES = {"query": "utterance", "positive": "reply"}


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("hf"))


def files(folder, **splits):
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize("streaming", [False, True])
def test_files_of_two_splits_are_read_under_our_names(tmp_path, streaming):
    files(tmp_path, train=ROWS[:30], validation=ROWS[30:])
    found = hf.load(tmp_path, columns=NAMES, streaming=streaming)
    assert {name: len(part) for name, part in found.judgements.items()} == {"train": 30, "dev": 10}
    assert found.query_texts == [row["utterance"] for row in ROWS]
    assert found.texts == [row["reply"] for row in ROWS]
    assert found.fingerprint == hf.load(tmp_path, columns=NAMES, streaming=not streaming).fingerprint


def test_splits_can_be_named_and_limited(tmp_path):
    files(tmp_path, train=ROWS[:30], test=ROWS[30:])
    found = hf.load(tmp_path, columns=NAMES, splits={"train": "train", "dev": "test"}, limit=7, streaming=True)
    assert {name: len(part) for name, part in found.judgements.items()} == {"train": 7, "dev": 7}


def test_a_saved_folder_of_one_split_is_divided_by_shares(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    found = hf.load(tmp_path / "saved", columns=NAMES, splits={"train": 0.5, "dev": 0.5})
    assert sum(len(part) for part in found.judgements.values()) == 40
    assert min(len(part) for part in found.judgements.values()) > 10
    assert found.name == "saved"


def test_a_folder_is_one_of_this_machine(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    files(tmp_path / "home", train=ROWS)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert len(hf.load("~", columns=NAMES).query_ids) == 40
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    for folder, settings in (("home", {"revision": "v1"}), ("saved", {"revision": "v1"}), ("saved", {"config": "x"})):
        with pytest.raises(UserError, match=rf"data\.source\.{next(iter(settings))}=.* has no effect"):
            hf.load(tmp_path / folder, columns=NAMES, **settings)


def test_a_stream_is_not_read_past_its_limit(tmp_path):
    broken = files(tmp_path, **{"train-00000": ROWS[:20]})
    (broken / "train-00001.jsonl").write_text("no json\n")
    found = hf.load(broken, columns=NAMES, limit=20, streaming=True)
    assert len(found.query_ids) == 20
    with pytest.raises(UserError, match="cannot read it"):
        hf.load(broken, columns=NAMES, streaming=True)


def retrieval(folder, *, id_key="_id", judged="qrels", shards=2):
    """Writes a collection as MTEB's data sets lie on the hub: parquet shards, and a card that names the parts."""
    documents = [{id_key: f"d{number}", "title": "", "text": f"text {number}"} for number in range(6)]
    queries = [{id_key: f"q{number}", "text": f"query {number}"} for number in range(3)]
    scores = [{"query-id": f"q{number}", "corpus-id": f"d{number}", "score": 1} for number in range(3)]
    for name, rows, split in (
        ("corpus", documents, "corpus"),
        ("queries", queries, "queries"),
        (judged, scores, "test"),
    ):
        (folder / name).mkdir(parents=True)
        for number in range(shards):
            part = datasets.Dataset.from_list(rows[number::shards])
            part.to_parquet(str(folder / name / f"{split}-{number:05d}-of-{shards:05d}.parquet"))
    parts = [("corpus", "corpus", "corpus"), ("queries", "queries", "queries"), ("default", judged, "test")]
    lines = [
        f"- config_name: {config}\n  data_files:\n  - split: {split}\n    path: {place}/{split}-*\n"
        for config, place, split in parts
    ]
    (folder / "README.md").write_text("---\nconfigs:\n" + "".join(lines) + "---\n")
    return folder


@pytest.mark.parametrize(("id_key", "judged"), [("_id", "qrels"), ("id", "data"), ("_id", "default")])
def test_the_parquet_layout_of_mteb_is_read_with_and_without_the_library(tmp_path, id_key, judged):
    folder = retrieval(tmp_path / "scifact", id_key=id_key, judged=judged)
    through, alone = hf.load(folder), beir.load(folder)
    for found in (through, alone):
        assert sorted(found.document_ids) == [f"d{number}" for number in range(6)]
        assert len(found.judgements["test"]) == 3
        judged_pairs = found.judgements["test"]
        for query, document in zip(judged_pairs.query, judged_pairs.document, strict=True):
            assert found.query_ids[query][1:] == found.document_ids[document][1:]
    assert through.fingerprint == alone.fingerprint


def test_judgements_of_three_parts_are_read_as_those_of_files(tmp_path):
    folder = retrieval(tmp_path / "scifact", shards=1)
    shard = "test-00000-of-00001.parquet"
    rows = [{"query-id": "q0", "corpus-id": "d0", "label": 2}, {"query-id": "q1", "corpus-id": "d1", "label": 0}]
    datasets.Dataset.from_list(rows).to_parquet(str(folder / "qrels" / shard))
    found = hf.load(folder).judgements["test"]
    assert found.grade.tolist() == [2, 0] == beir.load(folder).judgements["test"].grade.tolist()
    with pytest.raises(UserError, match="this one has judgements of its own"):
        hf.load(folder, splits={"train": 0.9, "dev": 0.1})
    corpus = [{"_id": "d0", "text": "one"}, {"_id": "d0", "text": "another"}]
    datasets.Dataset.from_list(corpus).to_parquet(str(folder / "corpus" / "corpus-00000-of-00001.parquet"))
    with pytest.raises(UserError, match="id 'd0' was already given, with another text"):
        hf.load(folder)


def test_a_shard_that_is_missing_is_named(tmp_path):
    folder = retrieval(tmp_path / "scifact")
    (folder / "corpus" / "corpus-00001-of-00002.parquet").unlink()
    with pytest.raises(UserError, match=r"corpus-00001-of-00002.parquet is missing: the table has 2 parts"):
        beir.load(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": None}, "data.path=NAME"),
        ({"splits": {"train": "trian"}}, "no split 'trian'.*Did you mean 'train'"),
        ({"splits": {"train": "train", "dev": 0.1}}, "a name for each split, or a share for each"),
        ({"columns": {"query": "uterance"}}, "no column 'uterance'.*Did you mean 'utterance'"),
        ({"columns": None}, "utterance"),
        ({"limit": 0}, "limit=0"),
        (
            {"splits": {"train": 0.9, "dev": 0.1}},
            "divides a data set of one split, and this one has the splits train, test",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, settings, message):
    files(tmp_path, train=ROWS[:5], test=ROWS[5:])
    with pytest.raises(UserError, match=message):
        hf.load(**{"path": tmp_path, "columns": NAMES, **settings})


def test_a_name_that_cannot_be_had_is_one_line(monkeypatch):
    """As without a network: with one, the hub is asked several times over twenty seconds."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"data.path=nobody/nothing: `datasets` cannot read it"):
        hf.load("nobody/nothing")
