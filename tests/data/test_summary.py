import io

import pytest
from rich.console import Console

from twotower.core.errors import UserError
from twotower.data.collection import Candidates, Collection, Judgements
from twotower.data.datamodule import RetrievalData
from twotower.data.settings import DataSettings
from twotower.data.summary import describe_split, make_report, report_table, shared_between
from twotower.text.tokenizer import Tokenizer


def make(train, dev, **changes):
    """Documents a, b, a again; queries x, y, x again, z."""
    base = {
        "name": "small",
        "document_ids": ["0", "1", "2"],
        "titles": ["", "", ""],
        "texts": ["alpha alpha", "beta", "Alpha alpha"],
        "query_ids": ["0", "1", "2", "3"],
        "query_texts": ["alpha", "beta gamma", "ALPHA", "delta beta"],
        "judgements": {
            "train": Judgements.of(*zip(*train, strict=True)),
            "dev": Judgements.of(*zip(*dev, strict=True)),
        },
    }
    return Collection(**{**base, **changes})


TOKENIZER = Tokenizer.train(["alpha beta"], {})


def data_of(collection, **config):
    tokenizer = Tokenizer.train(["alpha beta"], {"min_frequency": 1})
    return RetrievalData(collection=collection, tokenizer=tokenizer, settings=DataSettings.parse(config))


@pytest.mark.parametrize(
    ("train", "dev", "expected"),
    [
        ([(0, 0, 1)], [(1, 1, 1)], (0, 0, 0, 0)),
        ([(0, 0, 1)], [(0, 1, 1)], (1, 0, 1, 0)),
        ([(0, 0, 1)], [(2, 2, 1)], (0, 1, 1, 0)),  # the same texts under other ids
        ([(0, 0, 1)], [(2, 1, 1)], (0, 0, 1, 0)),  # the same query with another answer
        ([(0, 0, 1)], [(3, 0, 1)], (0, 0, 0, 1)),
        ([(0, 0, 1), (3, 1, 0)], [(3, 1, 1)], (0, 0, 0, 0)),  # judged not relevant is no training pair
    ],
)
def test_what_splits_share_is_counted(train, dev, expected):
    shared = shared_between(make(train, dev), "train", "dev", TOKENIZER)
    assert (shared["query_ids"], shared["pairs"], shared["query_texts"], shared["documents"]) == expected


@pytest.mark.parametrize("dev", [[(0, 1, 1)], [(2, 2, 1)]])
def test_a_leak_stops_unless_allowed(dev):
    collection = make([(0, 0, 1)], dev)
    with pytest.raises(UserError, match=r"data\.allow_leak=true"):
        make_report(data_of(collection))
    assert any("LEAK" in note for note in make_report(data_of(collection, allow_leak=True))["notes"])


def test_evaluating_on_the_training_split_is_a_leak():
    with pytest.raises(UserError, match="both 'train'"):
        make_report(data_of(make([(0, 0, 1)], [(1, 1, 1)]), eval_split="train"))


def test_shared_documents_and_query_texts_alone_are_reported():
    report = make_report(data_of(make([(0, 0, 1)], [(2, 1, 1), (3, 0, 1)])))
    assert report["shared"] == {"query_ids": 0, "pairs": 0, "query_texts": 1, "documents": 1}
    assert any("have the text of a query of train" in note for note in report["notes"])


def test_counts_and_rates():
    report = make_report(
        data_of(make([(0, 0, 2), (0, 1, 1), (1, 1, 1)], [(3, 1, 1), (3, 2, 0)]), max_document_length=1)
    )
    assert (report["documents"], report["queries"], report["vocabulary"]["size"]) == (3, 4, 4)
    assert report["duplicates"] == {"documents": 1, "train_queries": 0, "eval_queries": 0}
    assert report["document_tokens"]["truncation_rate"] == pytest.approx(2 / 3)
    assert report["query_tokens"]["oov_rate"] == pytest.approx(2 / 6)
    assert report["eval_query_oov_rate"] == pytest.approx(1 / 2)
    assert report["train_query_oov_rate"] == pytest.approx(1 / 3)
    assert report["splits"]["train"]["relevant_per_query"] == 1.5
    assert report["splits"]["dev"]["judgements_per_query"] == 2
    assert describe_split(Judgements.of([0, 0], [0, 1], [3, 0]))["grades"] == [0.0, 3.0]
    assert any("data.max_document_length=1" in note for note in report["notes"])


def test_table_shows_the_figures():
    report = make_report(data_of(make([(0, 0, 1)], [(3, 1, 1)])))
    console = Console(file=io.StringIO(), width=120)
    console.print(report_table(report))
    shown = console.file.getvalue()
    assert "small" in shown
    assert "dev queries" in shown
    assert "50.00%" in shown


def test_brackets_in_a_name_are_shown_as_they_are():
    report = make_report(data_of(make([(0, 0, 1)], [(3, 1, 1)]))) | {"name": "mine [bold] [/x]", "notes": ["[/y]"]}
    console = Console(file=io.StringIO(), width=120)
    console.print(report_table(report))
    assert "mine [bold] [/x]" in console.file.getvalue()
    assert "[/y]" in console.file.getvalue()


@pytest.mark.parametrize(
    ("first", "second", "config", "same"),
    [
        ("prix d'un café", "Prix d'un cafe\u0301", {}, True),  # composed in another way
        ("alpha (beta)?", "alpha beta", {}, True),
        ("alpha-beta", "alpha, beta!", {}, True),
        ("ａｌｐｈａ ﬁn", "alpha fin", {}, True),  # NFKC
        ("readFile", "read file", {}, True),
        ("readFile", "read file", {"split_identifiers": False}, False),
        ("café", "cafe", {}, False),
        ("café", "cafe", {"strip_accents": True}, True),
        ("Alpha", "alpha", {"lowercase": False}, False),
        ("alpha (beta)?", "alpha beta", {"kind": "wordpiece"}, False),
        ("Alpha  beta", "alpha beta", {"kind": "wordpiece"}, True),
        ("al pha", "alpha", {}, False),
        ("unknown words", "other words", {}, False),
    ],
)
def test_texts_that_the_tokenizer_reads_alike_are_the_same(first, second, config, same):
    collection = make(
        [(0, 0, 1)],
        [(1, 1, 1)],
        texts=[f"answer: {first}", f"Answer {second}", "x"],
        query_texts=[first, second, "q", "r"],
    )
    shared = shared_between(collection, "train", "dev", Tokenizer.train(["alpha beta answer"], config))
    punctuated = config.get("kind") == "wordpiece"  # "answer:" and "Answer" differ there
    assert shared["query_texts"] == int(same)
    assert shared["pairs"] == int(same and not punctuated and config.get("lowercase", True))


def test_negatives_that_the_data_brings_are_used_or_said_not_to_be():
    given = make([(0, 0, 1), (0, 1, 0)], [(3, 1, 1)], candidates=Candidates.of([0, 0], [0, 1]))
    note = "brings negatives for 1 train queries, which are not trained with"
    assert any(note in item for item in make_report(data_of(given))["notes"])
    used = data_of(given, negatives={"kind": "candidates", "count": 1})
    assert not any("brings negatives" in item for item in make_report(used)["notes"])
    assert not any("brings negatives" in item for item in make_report(data_of(make([(0, 0, 1)], [(3, 1, 1)])))["notes"])


def test_a_vocabulary_that_says_nothing_stops_the_run():
    collection = make([(0, 0, 1)], [(1, 1, 1)])
    empty = RetrievalData(
        collection=collection, tokenizer=Tokenizer.train(["alpha"], {"min_frequency": 9}), settings=DataSettings()
    )
    with pytest.raises(UserError, match=r"the vocabulary holds 0 words, and 100% .*text\.segmentation"):
        make_report(empty)
    strange = RetrievalData(collection=collection, tokenizer=Tokenizer.train(["omega"], {}), settings=DataSettings())
    with pytest.raises(UserError, match="the vocabulary holds 1 words, and 100%"):
        make_report(strange)
