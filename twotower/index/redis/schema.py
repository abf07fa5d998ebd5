"""The file by which redisvl opens an index: `SearchIndex.from_yaml("RUN/index/redis/schema.yaml", redis_url=...)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from twotower.index.redis.keys import prefixes
from twotower.index.redis.text import FIELD, TITLE, TITLE_END

FILE = "schema.yaml"


def redisvl_schema(
    alias: str, version: str, *, algorithm: str, graph: Mapping[str, int], dim: int, hash_tags: int, text: bool
) -> str:
    """Returns the schema of a build as YAML.

    Args:
        alias: the name by which it is searched, which a later build takes over.
        version: the build's name.
        algorithm: FLAT or HNSW.
        graph: M and the like, as Redis names them.
        dim: width of the vectors.
        hash_tags: slots the documents are spread over.
        text: whether the hashes hold texts.
    """
    names = {"M": "m", "EF_CONSTRUCTION": "ef_construction", "EF_RUNTIME": "ef_runtime"}
    vector = {
        "algorithm": algorithm.lower(),
        "dims": dim,
        "distance_metric": "cosine",
        "datatype": "float32",
        **{names[key]: value for key, value in graph.items()},
    }
    fields: list[dict[str, Any]] = [{"name": "vector", "type": "vector", "attrs": vector}]
    if text:
        title = {"name": TITLE, "type": "tag", "attrs": {"separator": TITLE_END}}
        fields += [{"name": FIELD, "type": "text"}, title]
    keys = [prefix.removesuffix(":") for prefix in prefixes(version, hash_tags)]
    index = {"name": alias, "prefix": keys[0] if len(keys) == 1 else keys, "key_separator": ":", "storage_type": "hash"}
    return str(yaml.safe_dump({"version": "0.1.0", "index": index, "fields": fields}, sort_keys=False))
