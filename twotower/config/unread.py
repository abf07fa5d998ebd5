"""Settings that nothing reads: refused by name, so that nobody takes a result for that of a setting without effect.

A key that no part knows is refused where its group is checked; here are those that are known and, given the other
settings, of no effect. Each is compared with the value it has where nobody chose one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from twotower.core.errors import UserError

PATH_READERS = "beir, hf, jsonl or msmarco"


def refuse_unread(config: Mapping[str, Any]) -> None:
    """Refuses a setting that differs from its default and is read by nothing.

    Args:
        config: the full resolved config, plain data.

    Raises:
        UserError: naming the key, its value, and what would read it.
    """
    for key, value, reason in _unread(config):
        raise UserError(f"{key}={value} has no effect: {reason}.")


def _unread(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    yield from _data(config)
    yield from _text_and_words(config)
    for name, settings in (config.get("index") or {}).items():
        if isinstance(settings, Mapping):
            yield from _index(f"index.{name}", settings)
    if _part(config, "loss").get("chunk") and _part(config, "loss").get("learn_temperature") is None:
        yield "loss.chunk", config["loss"]["chunk"], "only loss=contrastive works in chunks"


def _part(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = config.get(key)
    return part if isinstance(part, Mapping) else {}


def _data(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    data = _part(config, "data")
    source = _part(data, "source")
    path = data.get("path")
    if path is not None and not _holds(source, path):
        reader = str(source.get("_target_", "data.source"))
        yield "data.path", path, f"{reader} reads no path; choose data={PATH_READERS}"
    if (
        path is not None
        and str(source.get("_target_", "")).endswith("msmarco.load")
        and source.get("version") == "v2.1"
    ):
        yield "data.source.version", "v2.1", "it chooses from the hub, and data.path names local files"
    if data.get("missing", "error") != "error" and "missing" not in source:
        yield "data.missing", data["missing"], "only data=beir, hf, msmarco and ir_datasets read judgements of ids"
    negatives = _part(data, "negatives")
    kind = negatives.get("kind", "in_batch")
    for key, default, readers in (
        ("depth", 50, ("bm25", "model")),
        ("skip", 0, ("bm25", "model")),
        ("renew", 1, ("model",)),
        ("margin", None, ("model",)),
        ("near_copy", 0.95, ("model",)),
    ):
        if kind not in readers and negatives.get(key, default) != default:
            yield f"data.negatives.{key}", negatives[key], f"only data.negatives.kind={' or '.join(readers)} reads it"


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds(item, wanted) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds(item, wanted) for item in value)
    return isinstance(value, str) and str(wanted) in value


def _text_and_words(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    text, embedding = _part(config, "text"), _part(config, "embedding")
    if text.get("vocabulary_file") is not None:
        for key, usual in (("min_frequency", (1, 2)), ("max_vocabulary", (None, 30_000, 100_000))):
            if key in text and text[key] not in usual:
                yield f"text.{key}", text[key], "text.vocabulary_file gives the words, none is counted"
    if embedding.get("freeze") is True and embedding.get("learning_rate") is not None:
        yield (
            "embedding.learning_rate",
            embedding["learning_rate"],
            "embedding.freeze=true keeps the vectors as they are",
        )


def _index(place: str, index: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    factory = index.get("factory")
    if isinstance(factory, str):
        for key, mark in (("ef_search", "HNSW"), ("nprobe", "IVF")):
            if index.get(key) is not None and mark not in factory:
                yield f"{place}.{key}", index[key], f"the factory {factory} has no {mark}"
        if index.get("ef_construction", 200) not in (100, 200) and "HNSW" not in factory:
            yield f"{place}.ef_construction", index["ef_construction"], f"the factory {factory} has no HNSW"
        if index.get("train_size") is not None and not any(
            mark in factory for mark in ("IVF", "PQ", "SQ", "PCA", "OPQ")
        ):
            yield f"{place}.train_size", index["train_size"], f"the factory {factory} is not trained"
        if index.get("rerank") and factory == "Flat":
            yield f"{place}.rerank", index["rerank"], "Flat keeps the vectors themselves"
    if str(index.get("algorithm", "")).upper() == "FLAT":
        for key, default in (("m", 16), ("ef_construction", 200), ("ef_search", 128)):
            if index.get(key, default) != default:
                yield f"{place}.{key}", index[key], "algorithm=FLAT compares with every document"
