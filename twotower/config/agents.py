"""Command lines as W&B's agent writes them, in the words of Hydra.

An agent sends Python's `None`, and floats where a whole number is searched among floats. Imports no Hydra.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from twotower.core.places import conf_dir

NULLABLE = (
    *("sweep.seeds", "trainer.threads", "trainer.cache_chunk", "loss.chunk", "data.source.limit", "loss.dims"),
    *("text.max_vocabulary", "data.max_query_length", "data.max_document_length", "callbacks.evaluate.max_queries"),
)
"""Keys of whole numbers whose default may be null, which says nothing of what they want."""
EITHER = ("trainer.limit_train_batches",)
"""Keys for which 1 and 1.0 say different things."""
INDEX_ENDS = ("ef_construction", "ef_search", "nprobe", "rerank", "train_size", "m", "batch_size", "hash_tags", "dims")
WHOLE_FLOAT = re.compile(r"(?<![\w.])([+-]?\d+)\.0+(?![\w.])")
NONE = re.compile(r"(?:(?<![\s\S])|(?<=[,\[(])|(?<=, ))None(?=[,\])]|$)")
LISTED = re.compile(r"[^'\"{}]*")
"""A value, or several of a sweep: with quotes or braces it is text or a dict, which is left as it is."""


def in_hydras_words(arguments: Sequence[str]) -> list[str]:
    """Returns a command line with `None` as null and `32.0` as 32 where a whole number is wanted, in lists too."""
    return [_in_hydras_words(item) for item in arguments]


def _in_hydras_words(item: str) -> str:
    key, mark, value = item.partition("=")
    if not mark or item.startswith("-"):
        return item
    if not LISTED.fullmatch(value):
        return item
    value = NONE.sub("null", value)
    name = key.lstrip("+")
    if WHOLE_FLOAT.search(value) and name not in EITHER and wants_whole(name):
        value = WHOLE_FLOAT.sub(r"\1", value)
    return f"{key}={value}"


def wants_whole(key: str) -> bool:
    """Says whether a config key wants a whole number, by the values that it has in the configs shipped with us."""
    if key in NULLABLE or (key.startswith("index.") and key.rpartition(".")[2] in INDEX_ENDS):
        return True
    kinds = {type(value) for name, value in _defaults() if name == key} - {type(None)}
    return kinds == {int}


def _defaults() -> Iterator[tuple[str, Any]]:
    """Yields every key and value of every choice of every group; read only where a command line asks for it."""
    folder = conf_dir()
    for path in sorted(folder.glob("*/*.yaml")):
        yield from _leaves(yaml.safe_load(path.read_text(encoding="utf-8")), f"{path.parent.name}.")
    yield from _leaves(yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8")), "")


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nested_hint(arguments: Sequence[str]) -> str:
    """Returns what to do where a command line holds a dict as Python writes it; "" where it holds none."""
    for item in arguments:
        key, mark, value = item.partition("=")
        if mark and not item.startswith("-") and re.match(r"\{\s*['\"]", value):
            inner = re.match(r"\{\s*['\"](?!values?\b|parameters\b|min\b|max\b|distribution\b)([\w.]+)", value)
            name = key.lstrip("+") + (f".{inner[1]}" if inner else "")
            return (
                f"{item[:80]} is a nested parameter, which Hydra can't read: in a W&B sweep file write dotted keys, "
                f"such as {name}: {{values: [...]}}."
            )
    return ""
