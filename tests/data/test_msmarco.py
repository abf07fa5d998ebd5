import builtins
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twotower.core.errors import UserError
from twotower.data import msmarco


def row(number, selected=(0, 1), **changes):
    texts = [f"passage {number} {place}" for place in range(len(selected))]
    passages = {"is_selected": list(selected), "passage_text": texts, "url": [f"http://x/{number}"] * len(selected)}
    base = {
        "query_id": number,
        "query": f"query {number}",
        "query_type": "entity",
        "answers": ["a"],
        "passages": passages,
    }
    return {**base, **changes}


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_parquet_in_the_schema_of_the_hub(tmp_path):
    (tmp_path / "v1.1").mkdir()
    write_parquet(tmp_path / "v1.1" / "train-00000-of-00002.parquet", [row(7), row(8, (1, 0, 0))])
    write_parquet(tmp_path / "v1.1" / "train-00001-of-00002.parquet", [row(9)])
    write_parquet(tmp_path / "v1.1" / "validation-00000-of-00001.parquet", [row(11, (0, 0, 1))])
    found = msmarco.load(tmp_path)
    assert found.document_ids == ["7_0", "7_1", "8_0", "8_1", "8_2", "9_0", "9_1", "11_0", "11_1", "11_2"]
    assert found.query_ids == ["7", "8", "9", "11"]
    train, dev = found.judgements["train"], found.judgements["dev"]
    assert train.grade.tolist() == [0, 1, 1, 0, 0, 0, 1]
    assert dev.document[dev.positive].tolist() == [9]
    assert found.candidates.document.tolist() == list(range(10))
    assert found.metadata[0] == {"url": "http://x/7"}


def test_json_lines_give_the_same_as_parquet(tmp_path):
    rows = [row(1), row(2, (1, 0))]
    write_parquet(tmp_path / "train.parquet", rows)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    write_parquet(tmp_path / "train.PARQUET", rows)
    one, two = msmarco.load(tmp_path / "train.parquet"), msmarco.load(tmp_path / "train.jsonl")
    assert one.fingerprint == two.fingerprint == msmarco.load(tmp_path / "train.PARQUET").fingerprint
    listed = row(1)
    keys = ("is_selected", "passage_text", "url")
    passages = zip(*(listed["passages"][key] for key in keys), strict=True)
    listed["passages"] = [dict(zip(keys, item, strict=True)) for item in passages]
    assert msmarco.read_row("here", listed) == msmarco.read_row("here", row(1))


def columns(rows):
    """The rows as MS MARCO's own v2.1 files have them."""
    return {name: {str(number): item[name] for number, item in enumerate(rows)} for name in rows[0]}


def test_a_file_of_columns_gives_the_same_as_one_of_rows(tmp_path):
    rows = [row(1), row(2, (1, 0)), row(5, (0, 0, 1))]
    keys = ("is_selected", "passage_text", "url")
    for item in rows:
        passages = zip(*(item["passages"][key] for key in keys), strict=True)
        item["passages"] = [dict(zip(keys, passage, strict=True)) for passage in passages]
    (tmp_path / "train_v2.1.json").write_text(json.dumps(columns(rows)))
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    one, two = msmarco.load(tmp_path / "train_v2.1.json"), msmarco.load(tmp_path / "train.jsonl")
    assert one.fingerprint == two.fingerprint
    assert one.query_ids == ["1", "2", "5"]
    assert msmarco.load(tmp_path / "train_v2.1.json", limit=1).query_ids == ["1"]


def test_a_folder_as_downloaded_is_read_without_its_eval_file(tmp_path, caplog):
    for number, split in enumerate(("train", "dev")):
        (tmp_path / f"{split}_v2.1.json").write_text(json.dumps(columns([row(number)])))
    asked = row(7)
    asked["passages"] = [{"passage_text": "a passage", "url": "http://x"}]
    public = tmp_path / "eval_v2.1_public.json"
    public.write_text(json.dumps(columns([asked])))
    with caplog.at_level("INFO"):
        found = msmarco.load(tmp_path)
    assert sorted(found.judgements) == ["dev", "train"]
    assert found.query_ids == ["1", "0"]
    assert f"{public} is left out: MS MARCO's eval files have no judgements" in caplog.text
    with pytest.raises(UserError, match="eval files have no judgements; give its train and dev files"):
        msmarco.load(public)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held.pop("passages"), r"train.json:1: needs 'passages', a column .*found nothing"),
        (lambda held: held["query_id"].pop("1"), r"train.json:1 row 1: needs 'query_id'.*found nothing"),
        (lambda held: held["query"].update({"1": 3}), r"train.json:1 row 1: needs 'query', a text"),
    ],
)
def test_errors_in_a_file_of_columns_name_the_row(tmp_path, change, message):
    held = columns([row(1), row(2)])
    change(held)
    (tmp_path / "train.json").write_text(json.dumps(held))
    with pytest.raises(UserError, match=message):
        msmarco.load(tmp_path / "train.json")


def test_limit_takes_the_first_of_each_split(tmp_path):
    write_parquet(tmp_path / "train.parquet", [row(1), row(2)])
    write_parquet(tmp_path / "test.parquet", [row(3), row(4, (-1, -1))])
    found = msmarco.load(tmp_path, limit=1)
    assert found.query_ids == ["3", "1"]
    assert sorted(found.judgements) == ["test", "train"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(1), "query_id 1 was already given"),
        (row(2, query=None), "needs 'query'"),
        (row(None), "needs 'query_id'"),
        (row("a\x1bb"), r"'query_id' holds a control character.*'a\\x1bb'"),
        (row(2, passages=None), "needs 'passages'"),
        (row(2, passages={"is_selected": [1], "passage_text": []}), "lists of one length"),
        (row(2, (0, 5)), "needs a text and 0 or 1"),
    ],
)
def test_errors_name_the_row(tmp_path, bad, message):
    (tmp_path / "train.json").write_text(json.dumps(row(1)) + "\n" + json.dumps(bad) + "\n")
    with pytest.raises(UserError, match=f"train.json:2: .*{message}"):
        msmarco.load(tmp_path)


def test_files_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        msmarco.load(tmp_path / "no")
    with pytest.raises(UserError, match="holds no file"):
        msmarco.load(tmp_path)
    write_parquet(tmp_path / "sample.parquet", [row(1)])
    with pytest.raises(UserError, match="must start with its split: train, validation, dev or test"):
        msmarco.load(tmp_path)
    with pytest.raises(UserError, match=r"no column 'passages'; there are: query_id, query"):
        msmarco.load(write_parquet(tmp_path / "train.parquet", [{"query_id": 1, "query": "a"}]))
    (tmp_path / "train-cut.parquet").write_bytes((tmp_path / "sample.parquet").read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read as parquet"):
        msmarco.load(tmp_path / "train-cut.parquet")
    with pytest.raises(UserError, match=r"data.source.version=v3"):
        msmarco.load(None, version="v3")


def test_the_hub_without_the_package_or_the_network(monkeypatch):
    class Offline:
        @staticmethod
        def load_dataset(name, version):
            raise ConnectionError(f"Couldn't reach {name} on the Hub\nsecond line")

    monkeypatch.setitem(sys.modules, "datasets", Offline)
    with pytest.raises(UserError, match=r"ms_marco v2.1 cannot be loaded \(Couldn't reach .*data.path") as caught:
        msmarco.load(None, version="v2.1")
    assert "\n" not in str(caught.value)
    original = builtins.__import__

    def without(name, *rest):
        if name == "datasets":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.delitem(sys.modules, "datasets")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install datasets"):
        msmarco.load(None)


def test_the_hub_s_splits_get_our_names(monkeypatch):
    class Hub:
        @staticmethod
        def load_dataset(name, version):
            assert (name, version) == ("microsoft/ms_marco", "v1.1")
            return {"validation": [row(1)], "train": [row(2)]}

    monkeypatch.setitem(sys.modules, "datasets", Hub)
    assert sorted(msmarco.load(None).judgements) == ["dev", "train"]
