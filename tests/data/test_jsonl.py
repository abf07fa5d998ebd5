import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.core.errors import UserError
from twotower.data import jsonl


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_documents_and_queries_of_the_same_text_are_one(tmp_path):
    lines = [
        {"query": "a", "positive": "x", "negatives": ["y"], "split": "train"},
        {"query": "a", "positive": ["z", "x"], "split": "train"},
        {"query": "b", "positive": "y", "split": "dev"},
    ]
    found = jsonl.load(write(tmp_path / "pairs.jsonl", lines))
    assert (found.name, found.texts, found.query_texts) == ("pairs", ["x", "y", "z"], ["a", "b"])
    train = found.judgements["train"]
    assert list(zip(train.query, train.document, train.grade, strict=True)) == [(0, 0, 1), (0, 1, 0), (0, 2, 1)]
    assert found.candidates.document.tolist() == [0, 1]
    assert found.judgements["dev"].document.tolist() == [1]


def test_queries_are_divided_by_text_in_the_given_shares(tmp_path):
    lines = [{"query": f"q{number // 2}", "positive": f"d{number}"} for number in range(200)]
    found = jsonl.load(write(tmp_path / "pairs.jsonl", lines), splits={"train": 0.7, "dev": 0.3})
    train, dev = (found.split(name).queries for name in ("train", "dev"))
    assert (len(train), len(dev)) == (70, 30)
    assert not set(train) & set(dev)
    again = jsonl.load(tmp_path / "pairs.jsonl", splits={"train": 0.7, "dev": 0.3})
    assert again.fingerprint == found.fingerprint
    other = jsonl.load(tmp_path / "pairs.jsonl", splits={"train": 0.7, "dev": 0.3}, split_seed=1)
    assert other.fingerprint != found.fingerprint
    assert other.candidates is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"query": "a"}', "needs 'positive'"),
        ('{"positive": "a"}', "needs 'query'"),
        ('{"query": "a", "positive": [1]}', "'positive' must be a text or a list"),
        ('{"query": "a", "positive": "x", "negatives": {"y": 1}}', "'negatives' must be"),
        ('{"query": "a", "positive": "X ", "negatives": ["x"]}', "positive and negative"),
        ('{"query": "a", "positive": "x", "split": 3}', "'split' must be a name"),
        ("{'query': 1}", "not valid JSON"),
    ],
)
def test_errors_name_file_and_line(tmp_path, line, message):
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"query": "fine", "positive": "x"}\n' + line + "\n")
    with pytest.raises(UserError, match=f"pairs.jsonl:2: .*{message}"):
        jsonl.load(file)


def test_missing_and_empty_files_are_named(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    for path, message in (
        (None, "data.path=FILE"),
        (tmp_path, "is not a file"),
        (tmp_path / "empty.jsonl", "is empty"),
    ):
        with pytest.raises(UserError, match=message):
            jsonl.load(path)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["query", "positive", "negatives", "split"]), inner)
        ),
        max_leaves=6,
    )
)
def test_any_json_is_read_or_refused_with_its_line(tmp_path_factory, value):
    file = write(tmp_path_factory.mktemp("fuzz") / "pairs.jsonl", [value])
    try:
        jsonl.load(file)
    except UserError as error:
        message = str(error)
        named = "pairs.jsonl:1: " in message
        if not named:
            raise
