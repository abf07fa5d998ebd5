"""In training, too, a document that a query is itself is no negative of it."""

from __future__ import annotations

import numpy as np
import pytest

from twotower.data import negatives
from twotower.data.batches import RelevantGroups
from twotower.data.collection import Candidates, Collection, Judgements
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
