"""The two commands of Redis's search that need putting together. Legend: D dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twotower.index.redis.keys import prefixes


def create_command(
    version: str,
    algorithm: str,
    settings: Mapping[str, int],
    dim: int,
    count: int,
    hash_tags: int,
    *,
    options: Sequence[Any] = (),
    schema: Sequence[Any] = (),
) -> list[Any]:
    """Returns FT.CREATE for a build.

    Args:
        version: its name.
        algorithm: FLAT or HNSW.
        settings: M and the like, as Redis names them.
        dim: width of the vectors.
        count: how many will come.
        hash_tags: slots they are spread over.
        options: of the whole index.
        schema: further fields.
    """
    vectors: list[Any] = ["TYPE", "FLOAT32", "DIM", dim, "DISTANCE_METRIC", "COSINE"]
    for key, value in settings.items():
        vectors += [key, value]
    vectors += ["INITIAL_CAP", count]
    # A build's keys are new, so there is nothing to scan; a scan that runs while they arrive indexes some of them
    # twice, and taking a document out of a graph costs more than putting it in.
    return [
        *("FT.CREATE", version, "ON", "HASH", "PREFIX", hash_tags, *prefixes(version, hash_tags), *options),
        *("SKIPINITIALSCAN", "SCHEMA", "vector", "VECTOR", algorithm, len(vectors), *vectors, *schema),
    ]


def search_command(version: str, query_D: np.ndarray, k: int, ef: int | None) -> list[Any]:
    """Returns FT.SEARCH for the k nearest documents: row and distance of each, nearest first.

    Args:
        version: the build's name.
        query_D: a float32 query.
        k: how many.
        ef: HNSW: neighbours to consider; None for FLAT.
    """
    deep = f" EF_RUNTIME {ef}" if ef else ""
    return [
        *("FT.SEARCH", version, f"*=>[KNN {k} @vector $query{deep} AS distance]"),
        *("PARAMS", 2, "query", query_D.tobytes(), "RETURN", 2, "row", "distance"),
        *("SORTBY", "distance", "LIMIT", 0, k, "DIALECT", 2),
    ]
