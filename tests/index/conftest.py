import numpy as np
import pytest

from twotower.index.manifest import identity_of
from twotower.index.vectors import normalise


def clustered(count, dim, *, seed=0, centres=40, spread=0.7):
    """Vectors as encoders give them: in groups, not spread evenly over the sphere."""
    generator = np.random.default_rng(seed)
    middle = generator.normal(size=(centres, dim))
    return normalise(middle[generator.integers(0, centres, count)] + spread * generator.normal(size=(count, dim)))


@pytest.fixture(scope="session")
def vectors():
    return clustered(3000, 32)


@pytest.fixture(scope="session")
def queries():
    return clustered(50, 32, seed=1)


@pytest.fixture(scope="session")
def ids():
    return [f"doc {number}" for number in range(3000)]


@pytest.fixture(scope="session")
def truth(vectors, queries):
    """Exact answers by numpy in float64: similarities and rows, best first."""
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    return np.take_along_axis(scores, rows, axis=1), rows


@pytest.fixture
def identity():
    def make(count=3000, **changes):
        given = {"checkpoint": "m.pt", "checkpoint_sha256": "a" * 64, "vocabulary_hash": "v", "documents_hash": "d"}
        return identity_of(**{**given, "documents_count": count, **changes})

    return make
