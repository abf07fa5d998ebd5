"""An exported index opened, searched and filtered by the real redisvl on a real Redis."""

from __future__ import annotations

import numpy as np
import pytest

from twotower.index.redis.index import RedisIndex

redisvl = pytest.importorskip("redisvl", reason="redisvl isn't installed")

TEXTS = ["roses in spring", "tulips in spring", "list files of a folder"]
TITLES = ["Flowers, red", "Flowers, red", ""]


@pytest.fixture
def built(vectors, redis_url, tmp_path):
    index = RedisIndex(algorithm="HNSW", index_name="papers")
    index.read_texts(lambda rows: [TEXTS[row % 3] for row in rows], lambda rows: [TITLES[row % 3] for row in rows])
    index.build(vectors[:300], [f"d{row}" for row in range(300)], tmp_path)
    index.publish()
    return tmp_path


def opened(way, folder, redis_url):
    from redisvl.index import SearchIndex

    if way == "schema":
        return SearchIndex.from_yaml(str(folder / "schema.yaml"), redis_url=redis_url)
    return SearchIndex.from_existing("papers", redis_url=redis_url)


@pytest.mark.parametrize("way", ["schema", "existing"])
def test_redisvl_finds_the_same_documents_and_filters_by_words(built, vectors, queries, redis_url, way):
    from redisvl.query import FilterQuery, VectorQuery
    from redisvl.query.filter import Text

    index = opened(way, built, redis_url)
    ours = RedisIndex(index_name="papers")
    ours.load(built)
    query_D = queries[0].astype(np.float32)
    hits = index.query(VectorQuery(query_D.tobytes(), "vector", return_fields=["row", "text"], num_results=5))
    scores_QK, rows_QK = ours.search(query_D[None], 5)
    assert [int(hit["row"]) for hit in hits] == rows_QK[0].tolist()
    np.testing.assert_allclose([1 - float(hit["vector_distance"]) for hit in hits], scores_QK[0], atol=1e-5)
    only = Text("text") % "tulip*"
    kept = index.query(
        VectorQuery(query_D.tobytes(), "vector", return_fields=["row", "text"], num_results=5, filter_expression=only)
    )
    assert [hit["text"] for hit in kept] == ["tulips in spring"] * 5
    rows = np.arange(1, 300, 3)
    best = rows[np.argsort(-(vectors[rows] @ query_D))[:5]]
    assert [int(hit["row"]) for hit in kept] == best.tolist()
    assert len(index.query(FilterQuery(filter_expression=only, return_fields=["row"], num_results=300))) == 100


def test_redisvl_ranks_by_both(built, queries, redis_url):
    from redisvl.query import AggregateHybridQuery

    index = opened("schema", built, redis_url)
    vector = {"vector": queries[0].tobytes(), "vector_field_name": "vector", "return_fields": ["text"]}
    hits = index.query(AggregateHybridQuery("tulips", "text", num_results=60, alpha=0.05, **vector))
    found = [hit["text"] == "tulips in spring" for hit in hits]
    assert 0 < sum(found) < 60
    assert found == sorted(found, reverse=True)


def test_redisvl_reads_titles_and_filters_by_them(built, queries, redis_url):
    from redisvl.query import VectorQuery
    from redisvl.query.filter import Tag

    index = opened("schema", built, redis_url)
    fields = {"return_fields": ["row", "title", "text"], "num_results": 300}
    hits = index.query(VectorQuery(queries[0].tobytes(), "vector", **fields))
    assert {(int(hit["row"]) % 3, hit.get("title", "")) for hit in hits} == set(enumerate(TITLES))
    only = index.query(
        VectorQuery(queries[0].tobytes(), "vector", **fields, filter_expression=Tag("title") == "Flowers, red")
    )
    assert len(only) == 200
    assert {hit["title"] for hit in only} == {"Flowers, red"}
