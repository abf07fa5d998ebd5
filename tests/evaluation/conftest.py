"""A small collection made by hand, and a random one, both with candidates."""

from __future__ import annotations

import numpy as np
import pytest

from twotower.data.collection import Candidates, Collection, Judgements


@pytest.fixture
def garden():
    """Five documents, four queries; query 2 has no relevant document, query 3 no candidates."""
    return Collection(
        name="garden",
        document_ids=["d1", "d10", "d2", "d3", "d4"],
        titles=["roses", "", "tulips", "soil", ""],
        texts=["red roses need sun", "prune roses in spring", "tulips need cold", "soil for roses", "nothing else"],
        query_ids=["q1", "q2", "q3", "q4"],
        query_texts=["how to prune roses", "cold tulips", "unanswerable", "soil"],
        judgements={
            "dev": Judgements.of([0, 0, 1, 2, 3], [0, 1, 2, 4, 3], [1, 3, 1, 0, 2]),
            "none": Judgements.of([2], [4], [0]),
        },
        candidates=Candidates.of([0, 0, 0, 1, 1, 2], [1, 3, 4, 2, 0, 4]),
    )


@pytest.fixture
def random_collection():
    """Builds a collection of random texts, judgements with grades 0 to 3, and candidates of varying number."""

    def build(documents: int = 200, queries: int = 40, seed: int = 0) -> Collection:
        rng = np.random.default_rng(seed)
        words = np.array([f"word{at}" for at in range(300)])
        texts = [" ".join(words[rng.integers(0, 300, size=rng.integers(0, 25))]) for _ in range(documents)]
        judged = queries * 5
        query, document = rng.integers(0, queries, judged), rng.integers(0, documents, judged)
        size = rng.integers(1, 15, queries)
        owner = np.repeat(np.arange(queries), size)
        return Collection(
            name="random",
            document_ids=[f"d{at}" for at in rng.permutation(documents)],
            titles=[""] * documents,
            texts=texts,
            query_ids=[f"q{at}" for at in range(queries)],
            query_texts=[" ".join(words[rng.integers(0, 300, size=4)]) for _ in range(queries)],
            judgements={"dev": Judgements.of(query, document, rng.integers(0, 4, judged))},
            candidates=Candidates.of(owner, rng.integers(0, documents, len(owner))),
        )

    return build


@pytest.fixture
def unit():
    """Builds random unit vectors, float32 [rows, width]."""

    def build(rows: int, width: int = 16, seed: int = 0) -> np.ndarray:
        vectors = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return build
