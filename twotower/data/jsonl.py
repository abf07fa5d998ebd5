"""One file of training pairs: a line is {"query": ..., "positive": ..., "negatives": [...]}.

`positive` is a text or a list of texts; `negatives` is optional; `split` may name the split of a line, otherwise
queries are divided by a hash of their text. Documents of the same text are one document, and so are queries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twotower.core.errors import UserError
from twotower.data.collection import Candidates, Collection, Judgements, bare, normalised
from twotower.data.lines import Place, clean, complain, read_objects, shown, take_text
from twotower.data.splits import check_shares, divide


def load(
    path: str | Path | None, splits: dict[str, float] | None = None, split_seed: int = 0, name: str | None = None
) -> Collection:
    """Reads a file of pairs.

    Args:
        path: the file, which may be gzipped.
        splits: share of the queries in each split where lines name none; by default 90 % train, 10 % dev.
        split_seed: another number gives another division.
        name: what to call the collection (the file's name otherwise).

    Raises:
        UserError: for a missing file or a malformed line (file and line number).
    """
    if path is None:
        raise UserError('data=jsonl needs data.path=FILE with a line {"query": ..., "positive": ...} for each pair.')
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"data.path={file} is not a file.")
    shares = splits or {"train": 0.9, "dev": 0.1}
    check_shares(shares)
    lines = [(place, *_read(value, place)) for place, value in read_objects(file)]
    if not lines:
        raise UserError(f'{file} is empty; it needs a line {{"query": ..., "positive": ...}} for each pair.')
    unnamed = [normalised(query) for _, query, _, _, split in lines if split is None]
    assigned = divide(unnamed, shares, split_seed, same=bare)
    return _collect(name or file.name.split(".")[0], lines, assigned)


def _read(value: dict[str, Any], place: Place) -> tuple[str, list[str], list[str], str | None]:
    query = take_text(value, "query", place)
    positives, negatives = _texts(value, "positive", place), _texts(value, "negatives", place)
    if not positives:
        raise complain(place, "needs 'positive', a text or a list of at least one.")
    both = {normalised(text) for text in positives} & {normalised(text) for text in negatives}
    if both:
        raise complain(place, f"the same text is positive and negative: {shown(min(both))}.")
    split = value.get("split")
    if split is not None and (not isinstance(split, str) or not split):
        raise complain(place, f"'split' must be a name; found {shown(split)}.")
    return query, positives, negatives, split


def _texts(value: dict[str, Any], key: str, place: Place) -> list[str]:
    found = value.get(key)
    if found is None:
        return []
    items = [found] if isinstance(found, str) else found
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise complain(place, f"'{key}' must be a text or a list of texts; found {shown(found)}.")
    return [clean(item, key, place) for item in items]


def _collect(
    name: str, lines: list[tuple[Place, str, list[str], list[str], str | None]], assigned: dict[str, str]
) -> Collection:
    documents: dict[str, int] = {}
    queries: dict[str, int] = {}
    judged: dict[str, list[tuple[int, int, int]]] = {split: [] for split in dict.fromkeys(assigned.values())}
    listed: list[tuple[int, int]] = []
    for _, query, positives, negatives, split in lines:
        row = queries.setdefault(query, len(queries))
        pairs = [(documents.setdefault(text, len(documents)), 1) for text in positives]
        pairs += [(documents.setdefault(text, len(documents)), 0) for text in negatives]
        judged.setdefault(split or assigned[normalised(query)], []).extend((row, *pair) for pair in pairs)
        if negatives:
            listed += [(row, document) for document, _ in pairs]
    return Collection(
        name=name,
        document_ids=[f"d{row}" for row in range(len(documents))],
        titles=[""] * len(documents),
        texts=list(documents),
        query_ids=[f"q{row}" for row in range(len(queries))],
        query_texts=list(queries),
        judgements={split: Judgements.of(*zip(*found, strict=True)) for split, found in judged.items() if found},
        candidates=Candidates.of(*zip(*listed, strict=True)) if listed else None,
    )
