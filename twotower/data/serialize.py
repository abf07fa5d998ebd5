"""A collection kept in a folder, for sources whose reading takes long enough to be worth doing once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from twotower.core.files import write_json
from twotower.core.reading import read_typed_json
from twotower.data.collection import Candidates, Collection, Judgements

INDEXED = ("indexed_texts", "indexed_as", "indexed_leads")
LISTS = ("document_ids", "titles", "texts", "query_ids", "query_texts", "metadata", *INDEXED)


def save(folder: Path, collection: Collection) -> None:
    """Writes a collection into an existing folder."""
    arrays: dict[str, np.ndarray] = {}
    for number, judgements in enumerate(collection.judgements.values()):
        arrays |= {f"{number}_{field}": getattr(judgements, field) for field in ("query", "document", "grade")}
    if collection.candidates is not None:
        arrays |= {f"candidates_{field}": getattr(collection.candidates, field) for field in ("query", "document")}
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
    lists = {name: getattr(collection, name) for name in LISTS}
    lists = {"name": collection.name, "splits": list(collection.judgements), **lists}
    plain = sum(map(str.isascii, collection.texts))
    write_json(folder / "lists.json", lists, escaped=plain > 0.9 * len(collection.texts))


def load(folder: Path) -> Collection:
    """Reads what `save` wrote."""
    lists = read_typed_json(folder / "lists.json", {"name": str, "splits": [str]})
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        judgements = {
            split: Judgements(**{field: arrays[f"{number}_{field}"] for field in ("query", "document", "grade")})
            for number, split in enumerate(lists.pop("splits"))
        }
        candidates = None
        if "candidates_query" in arrays:
            candidates = Candidates(query=arrays["candidates_query"], document=arrays["candidates_document"])
    return Collection(judgements=judgements, candidates=candidates, **lists)
