import pytest

from twotower.core.errors import UserError
from twotower.data import irdatasets

ir_datasets = pytest.importorskip("ir_datasets")


@pytest.fixture
def register(tmp_path):
    """Registers a dataset made of local files; gives its id."""
    names = []

    def add(name, qrels, docs="d1\talpha beta\nd2\tgamma\n", queries="q1\tfirst\nq2\tsecond\n"):
        folder = tmp_path / name
        folder.mkdir()
        contents = {"docs.tsv": docs, "queries.tsv": queries, "qrels": qrels}
        for file, content in contents.items():
            (folder / file).write_text(content)
        made = ir_datasets.create_dataset(
            docs_tsv=str(folder / "docs.tsv"),
            queries_tsv=str(folder / "queries.tsv"),
            qrels_trec=str(folder / "qrels"),
        )
        ir_datasets.registry.register(f"local-{name}", made)
        names.append(f"local-{name}")
        return f"local-{name}"

    yield add
    for name in names:
        ir_datasets.registry._registered.pop(name, None)


def test_local_datasets_become_splits(register):
    train, dev = register("one", "q1 0 d1 2\nq1 0 d2 0\n"), register("two", "q2 0 d2 1\n")
    found = irdatasets.load({"train": train, "dev": dev})
    assert found.document_ids == ["d1", "d2"]
    assert found.texts == ["alpha beta", "gamma"]
    assert found.query_texts == ["first", "second"]
    assert found.judgements["train"].grade.tolist() == [2, 0]
    assert found.judgements["dev"].document.tolist() == [1]
    assert found.candidates is None


def test_what_does_not_fit_is_named(register):
    with pytest.raises(UserError, match=r"data.source.splits"):
        irdatasets.load(None)
    with pytest.raises(UserError, match=r"no 'vaswanni'.*Did you mean 'vaswani'"):
        irdatasets.load({"train": "vaswanni"})
    with pytest.raises(UserError, match="judges document 'd9'"):
        irdatasets.load({"train": register("three", "q1 0 d9 1\n")})
    one = register("four", "q1 0 d1 1\n")
    with pytest.raises(UserError, match="has another text too"):
        irdatasets.load({"train": one, "dev": register("five", "q1 0 d1 1\n", queries="q1\tother\n")})
    odd = register("seven", "q1 0 d1 1\n", docs="d1\talpha\nd\x1b2\tbeta\n")
    with pytest.raises(UserError, match=r"document id 'd\\x1b2' of .* holds a control character"):
        irdatasets.load({"train": odd})
    with pytest.raises(UserError, match="cannot read it"):
        irdatasets.load({"train": register("six", "q1 0 d1 no-number\n")})


def test_judgements_of_what_is_not_there_may_be_left_out(register):
    name = register("eight", "q1 0 d9 1\nq1 0 d1 1\nq9 0 d1 1\n")
    with pytest.raises(UserError, match=r"data\.missing=skip"):
        irdatasets.load({"train": name})
    found = irdatasets.load({"train": name}, missing="skip")
    assert found.judgements["train"].document.tolist() == [0]
    assert [found.query_ids[row] for row in found.judgements["train"].query] == ["q1"]
    assert any("2" in note and "left out" in note for note in found.notes), found.notes
