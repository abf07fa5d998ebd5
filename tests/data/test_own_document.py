"""In training, too, a document that a query is itself is no negative of it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from twotower.data import negatives
from twotower.data.batches import RelevantGroups
from twotower.data.collection import Candidates, Collection, Judgements, bare
from twotower.data.own_document import own_pairs
from twotower.data.settings import NegativeSettings

COUNT = 12
ROWS = np.arange(COUNT)
TEXTS = [f"argument number{number} about topic{number // 2}" for number in range(COUNT)]


def arguments(prefix: str) -> Collection:
    """Each document is a query too, under an id with another prefix or its own; its answer is its neighbour."""
    every = np.repeat(ROWS, COUNT), np.tile(ROWS, COUNT)
    return Collection(
        name="arguments",
        document_ids=[f"p{number}" for number in range(COUNT)],
        titles=[""] * COUNT,
        texts=TEXTS,
        query_ids=[f"{prefix}{number}" for number in range(COUNT)],
        query_texts=[f"{text.upper()}!" for text in TEXTS],
        judgements={"train": Judgements.of(ROWS, ROWS ^ 1, np.ones(COUNT))},
        candidates=Candidates.of(*every),
    )


@pytest.mark.parametrize("prefix", ["p", "q"])
def test_it_is_masked_among_the_negatives_of_the_batch(prefix):
    collection = arguments(prefix)
    mask_BN = RelevantGroups(collection, ["train"]).mask(ROWS, ROWS ^ 1)
    own_BN = (ROWS ^ 1)[None, :] == ROWS[:, None]
    assert mask_BN.tolist() == own_BN.tolist()
    assert not RelevantGroups(collection, ["train"], exclude_self=False).mask(ROWS, ROWS ^ 1).any()


@pytest.mark.parametrize("kind", ["random", "candidates", "bm25"])
def test_it_is_never_drawn_as_an_explicit_negative(kind):
    settings, collection = NegativeSettings(kind=kind, count=5), arguments("q")
    drawn = negatives.build(settings, collection, "train")(ROWS, np.random.default_rng(0))
    assert (drawn >= 0).any()
    assert not (drawn == ROWS[:, None]).any()
    blind = RelevantGroups(collection, ["train"], exclude_self=False)
    drawn = negatives.build(settings, collection, "train", blind)(ROWS, np.random.default_rng(0))
    assert (drawn == ROWS[:, None]).any()


def test_it_is_trained_towards_where_it_is_judged_relevant():
    judged = {"train": Judgements.of(ROWS, ROWS, np.ones(COUNT))}
    collection = Collection(**{**vars(arguments("p")), "judgements": judged})
    mask_BN = RelevantGroups(collection, ["train"]).mask(ROWS, ROWS)
    assert not mask_BN.any()


def one_by_one(collection, query_rows, split, exclude):
    """What `own_pairs` says, worked out query by query."""
    judged = collection.split(split)
    relevant = {pair[:2] for pair in zip(judged.query, judged.document, judged.grade, strict=True) if pair[2] > 0}
    pairs, both = [], list(zip(collection.titles, collection.texts, strict=True))
    for place, row in enumerate(query_rows if exclude is not False else ()):
        own = collection.query_ids[row]
        wholes = [{bare(text), bare(f"{title} {text}")} for title, text in both]
        letters = bare(collection.query_texts[row])
        copies = [number for number, whole in enumerate(wholes) if letters and letters in whole]
        own = collection.document_ids.index(own) if own in collection.document_ids else None
        others = [number for number in copies if number != own]
        if any((row, number) in relevant for number in others):
            others = []
        if own is not None and (exclude is True or own in copies) and (row, own) not in relevant:
            others = [own, *others]
        pairs += [(place, number) for number in others]
    return pairs


@pytest.mark.parametrize("exclude", ["auto", True, False])
def test_pairs_are_those_that_a_look_at_every_query_finds(exclude):
    words, count = ["a", "B", "a b", "AB!", "", "long" * 20, "long" * 20 + "er", "é"], 0
    for seed in range(300):
        draw = random.Random(seed)
        documents, queries = draw.randint(1, 20), draw.randint(1, 12)
        judged = [(draw.randrange(queries), draw.randrange(documents), draw.choice([0, 1])) for _ in range(20)]
        collection = Collection(
            name="drawn",
            document_ids=[str(number) for number in draw.sample(range(30), documents)],
            titles=[draw.choice(words) for _ in range(documents)],
            texts=[" ".join(draw.choices(words, k=draw.randrange(3))) for _ in range(documents)],
            query_ids=[str(number) for number in draw.sample(range(30), queries)],
            query_texts=[" ".join(draw.choices(words, k=draw.randrange(3))) for _ in range(queries)],
            judgements={"train": Judgements.of(*zip(*judged, (0, 0, 1), strict=True))},
        )
        rows = np.array(draw.sample(range(queries), draw.randint(0, queries)), dtype=np.int32)
        places, found = own_pairs(collection, rows, "train", exclude)
        expected = one_by_one(collection, rows, "train", exclude)
        assert list(zip(places.tolist(), found.tolist(), strict=True)) == expected
        count += len(expected)
    assert count > 100 or exclude is False
