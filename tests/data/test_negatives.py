import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.data import negatives
from twotower.data.collection import normalised
from twotower.data.settings import NegativeSettings


def draw(collection, config, seed=0):
    chosen = negatives.build(NegativeSettings.parse(config), collection, "train")
    queries = collection.split("train").queries
    return queries, chosen(queries, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["random", "candidates", "bm25"])
def test_negatives_are_never_relevant_nor_copies_of_relevant_ones(collection, reference, kind):
    queries, drawn = draw(collection, {"kind": kind, "count": 4})
    texts = [normalised(text) for text in collection.document_texts()]
    forbidden = reference(collection, "train")
    assert drawn.shape == (len(queries), 4)
    assert (drawn >= 0).mean() > 0.5
    for query, row in zip(queries, drawn, strict=True):
        assert not {texts[item] for item in row if item >= 0} & forbidden[query]


def test_candidates_come_from_the_query_s_own_list_and_differ(collection):
    queries, drawn = draw(collection, {"kind": "candidates", "count": 4})
    lists = collection.candidates
    for query, row in zip(queries, drawn, strict=True):
        own = set(lists.document[lists.query == query].tolist())
        given = [item for item in row.tolist() if item >= 0]
        assert set(given) <= own
        assert len(set(given)) == len(given)
        assert (row[len(given) :] == -1).all()


def test_bm25_gives_what_shares_words_most(make_collection):
    collection = make_collection(seed=5)
    query, document = negatives.bm25_pool(collection, "train", depth=5)
    for row in np.unique(query):
        words = set(collection.query_texts[row].split())
        for item in document[query == row]:
            assert words & set(collection.document_texts()[item].split())
    again = negatives.bm25_pool(collection, "train", depth=5)
    assert np.array_equal(again[0], query)
    assert np.array_equal(again[1], document)
    skipped = negatives.bm25_pool(collection, "train", depth=4, skip=1)
    assert [document[query == row][1:].tolist() for row in np.unique(query)] == [
        skipped[1][skipped[0] == row].tolist() for row in np.unique(query)
    ]


def test_draws_differ_with_the_generator_and_repeat_with_it(collection):
    config = {"kind": "random", "count": 3}
    assert np.array_equal(draw(collection, config)[1], draw(collection, config)[1])
    assert not np.array_equal(draw(collection, config)[1], draw(collection, config, seed=1)[1])


def test_in_batch_has_none(collection):
    assert negatives.build(NegativeSettings(), collection, "train") is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "randon", "count": 1}, "Did you mean 'random'"),
        ({"kind": "random", "count": 0}, "count of at least 1"),
        ({"kind": "random", "count": -1}, "count=-1"),
        ({"kind": "in_batch", "count": 2}, "needs data.negatives.kind"),
        ({"kind": "bm25", "count": 1, "depth": 0}, "depth=0"),
        ({"kind": "bm25", "cuont": 1}, "Did you mean 'count'"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(UserError, match=message):
        NegativeSettings.parse(config)


def test_candidates_without_lists_are_refused(make_collection):
    with pytest.raises(UserError, match="no candidate lists"):
        negatives.build(NegativeSettings(kind="candidates", count=1), make_collection(with_candidates=False), "train")
