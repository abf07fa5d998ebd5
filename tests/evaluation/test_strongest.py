"""Which BM25 is taken: its k1, b and stems are chosen on training queries."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from twotower.core.places import conf_dir
from twotower.data import beir
from twotower.data.collection import Collection, Judgements
from twotower.evaluation.bm25 import bm25_rankings
from twotower.evaluation.settings import Bm25Settings, EvaluationSettings
from twotower.evaluation.strongest import strongest_bm25, usual_bm25

AUTO = Bm25Settings(k1="auto", b="auto")
FILLER = [f"filler{number}" for number in range(300)]


def collection(documents: list[str], queries: list[str], answers: list[int]) -> Collection:
    count = len(queries)
    judged = Judgements(
        query=np.arange(count, dtype=np.int32), document=np.array(answers, np.int32), grade=np.ones(count, np.float32)
    )
    return Collection(
        name="small",
        document_ids=[f"d{at}" for at in range(len(documents))],
        titles=[""] * len(documents),
        texts=documents,
        query_ids=[f"q{at}" for at in range(count)],
        query_texts=queries,
        judgements={"train": judged},
    )


def long_and_short(answer: str) -> Collection:
    """Twenty words, each in a short document once and in a long one twice; one of the two is right."""
    words = [f"word{at}" for at in range(20)]
    short = [f"{word} {FILLER[at]} {FILLER[at + 1]}" for at, word in enumerate(words)]
    long = [f"{word} {word} {' '.join(FILLER[at : at + 14])}" for at, word in enumerate(words)]
    return collection([*short, *long], words, [at + (20 if answer == "long" else 0) for at in range(20)])


def test_b_follows_the_collection():
    """Where short documents are right, length has to count more."""
    _, short = strongest_bm25(long_and_short("short"), "train", AUTO, None)
    _, long = strongest_bm25(long_and_short("long"), "train", AUTO, None)
    assert (short, long) == (Bm25Settings(k1=1.5, b=0.75), Bm25Settings(k1=0.9, b=0.4))


def test_stems_are_taken_where_they_rank_better():
    stemmed = collection(["running quickly", "apples fall", "a run", "apple"], ["runs", "falling"], [0, 1])
    assert strongest_bm25(stemmed, "train", AUTO, "english")[0] == "english"
    plain = collection(["general news", "generally speaking about"], ["generally", "general"], [1, 0])
    assert strongest_bm25(plain, "train", AUTO, "english")[0] is None


def test_numbers_stay_as_they_are():
    given = Bm25Settings(k1=1.2, b="auto")
    assert strongest_bm25(long_and_short("short"), "train", given, None)[1] == Bm25Settings(k1=1.2, b=0.75)
    assert usual_bm25(None) == Bm25Settings(k1=0.9, b=0.4)
    assert usual_bm25(given) == Bm25Settings(k1=1.2, b=0.4)


@pytest.mark.parametrize(("documents", "ranked"), [(10, 20), (39, 39), (50, 40)])
def test_a_large_collection_is_judged_by_a_part_of_it(monkeypatch, documents, ranked):
    """As many documents as are allowed, but all of the twenty that are judged."""
    sizes = []

    def spy(part, *arguments, **named):
        sizes.append(len(part.document_ids))
        return bm25_rankings(part, *arguments, **named)

    monkeypatch.setattr("twotower.evaluation.strongest.DOCUMENTS", documents)
    monkeypatch.setattr("twotower.evaluation.strongest.bm25_rankings", spy)
    assert strongest_bm25(long_and_short("long"), "train", AUTO, None)[1].b in (0.4, 0.75)
    assert sizes == [ranked, ranked]


def test_runs_choose_k1_and_b(shared_data):
    """What the default config asks for, on real text: short sentences, for which the two differ most."""
    config = yaml.safe_load((conf_dir() / "evaluation" / "default.yaml").read_text())
    settings = EvaluationSettings.parse(config)
    assert settings.bm25 == AUTO
    chosen = strongest_bm25(beir.load(path=shared_data("wikiqa")), "train", AUTO, "english")
    assert chosen == ("english", Bm25Settings(k1=0.9, b=0.4))
