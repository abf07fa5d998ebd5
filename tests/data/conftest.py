from __future__ import annotations

import numpy as np
import pytest

from twotower.data.collection import Candidates, Collection, Judgements, normalised


def random_collection(seed=0, documents=40, queries=60, with_candidates=True):
    """A collection with copies of documents and queries, several relevant documents a query, and grades."""
    generator = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(30)]

    def texts(count, distinct, length):
        pool = [" ".join(generator.choice(words, generator.integers(1, length))) for _ in range(distinct)]
        return [pool[number] for number in generator.integers(0, distinct, count)]

    pairs = generator.integers(0, [queries, documents], (queries * 2, 2))
    grades = generator.integers(0, 3, len(pairs))
    half = pairs[:, 0] < queries // 2
    listed = generator.integers(0, [queries, documents], (queries * 6, 2))
    return Collection(
        name="random",
        document_ids=[f"d{row}" for row in range(documents)],
        titles=[""] * documents,
        texts=texts(documents, documents * 3 // 4, 9),
        query_ids=[f"q{row}" for row in range(queries)],
        query_texts=texts(queries, queries * 3 // 4, 5),
        judgements={
            "train": Judgements.of(pairs[half, 0], pairs[half, 1], grades[half]),
            "dev": Judgements.of(pairs[~half, 0], pairs[~half, 1], grades[~half]),
        },
        candidates=Candidates.of(listed[:, 0], listed[:, 1]) if with_candidates else None,
    )


def forbidden(collection, split):
    """By plain loops: query row -> normalised texts of documents relevant to a query of the same text in a split."""
    judgements = collection.judgements[split]
    by_text = {}
    for query, document, grade in zip(judgements.query, judgements.document, judgements.grade, strict=True):
        if grade > 0:
            text = normalised(collection.query_texts[query])
            by_text.setdefault(text, set()).add(normalised(collection.document_texts()[document]))
    return [by_text.get(normalised(text), set()) for text in collection.query_texts]


@pytest.fixture
def collection():
    return random_collection()


@pytest.fixture
def reference():
    return forbidden


@pytest.fixture
def make_collection():
    return random_collection
