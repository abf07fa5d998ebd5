"""Training pairs, triplets and the like: a line is {"query": ..., "positive": ..., "negatives": [...]}.

The layouts of sentence-transformers, FlagEmbedding, DPR and Tevatron are read too, see `pair_rows`; from JSON lines, a
JSON list, CSV, TSV, parquet, or what `save_to_disk` wrote. `split` may name the split of a line, and so may file names;
otherwise queries are divided by a hash of their text. Documents of the same text are one document, and so are queries.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from twotower.core.errors import UserError
from twotower.core.packed import bare_name
from twotower.data.collection import Candidates, Collection, Judgements, bare, normalised
from twotower.data.columns import Columns
from twotower.data.lines import Place, complain, read_objects
from twotower.data.pair_rows import TOLD, PairRow, Passage, pair_row
from twotower.data.rows import ENDINGS, is_saved, is_table, read_rows, saved_splits
from twotower.data.splits import check_shares, divide

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "validation": "dev", "valid": "dev", "val": "dev", "dev": "dev", "test": "test"}
"""Names of files and of saved splits, and the name that we give the split."""


def load(
    path: str | Path | None,
    splits: dict[str, float] | None = None,
    split_seed: int = 0,
    name: str | None = None,
    columns: Columns | None = None,
    ignore: Sequence[str] = (),
    threshold: float | None = None,
) -> Collection:
    """Reads pairs.

    Args:
        path: the file (see `twotower.data.rows`), or a folder with one for each split (train.jsonl, dev.jsonl, ...).
        splits: share of the queries in each split where nothing names one; by default 90 % train, 10 % dev.
        split_seed: another number gives another division.
        name: what to call the collection (the file's name otherwise).
        columns: our names of columns that the file calls otherwise: {query: utterance, positive: reply}.
        ignore: keys to pass over.
        threshold: labels and scores from here on are relevant; None: they are grades.

    Raises:
        UserError: for a missing file, an unknown key or a malformed line (file and line number).
    """
    if path is None:
        raise UserError('data=jsonl needs data.path=FILE with a line {"query": ..., "positive": ...} for each pair.')
    file = Path(path).expanduser()
    lines = ((split, place, value) for split, part in _parts(file) for place, value in _values(part, columns))
    label = name or file.name.split(".")[0]
    return collect(
        label, lines, shares=splits, split_seed=split_seed, ignore=ignore, threshold=threshold, source=str(file)
    )


def collect(
    name: str,
    lines: Iterable[tuple[str | None, Place, Mapping[str, object]]],
    *,
    shares: Mapping[str, float] | None,
    split_seed: int,
    ignore: Sequence[str],
    threshold: float | None,
    source: str,
) -> Collection:
    """Makes a collection of rows of pairs, triplets and the like.

    Args:
        name: what to call it.
        lines: the split (None where rows are to be divided), the place and the content of each row.
        shares: share of the queries in each split where nothing names one; None: 90 % train, 10 % dev.
        split_seed: another number gives another division.
        ignore: keys to pass over.
        threshold: labels and scores from here on are relevant; None: they are grades.
        source: where the rows come from, for messages.

    Raises:
        UserError: for an unknown key or a row that is not as expected, or when there is none.
    """
    shares = dict(shares or {"train": 0.9, "dev": 0.1})
    check_shares(shares)
    rows: list[PairRow] = []
    unused: set[str] = set()
    for split, place, value in lines:
        row = pair_row(place, value, ignore=ignore, threshold=threshold)
        rows.append(replace(row, split=row.split or split))
        unused.update(key for key in TOLD if value.get(key) is not None)
    if not rows:
        raise UserError(f'{source} is empty; it needs a line {{"query": ..., "positive": ...}} for each pair.')
    if unused := unused.difference(ignore):
        listed = ", ".join(sorted(unused))
        log.warning("%s: not used in training: %s (data.source.ignore=[...] says so).", source, listed)
    unnamed = [normalised(row.query) for row in rows if row.split is None]
    return _collect(name, rows, divide(unnamed, shares, split_seed, same=bare))


def _parts(path: Path) -> list[tuple[str | None, Path]]:
    """Returns the files to read, each with the split that its name says, if it says one."""
    if path.is_file():
        return [(None, path)]
    if is_saved(path):
        saved = saved_splits(path)
        return [(SPLITS.get(name, name), part) for name, part in saved.items()] or [(None, path)]
    if not path.is_dir():
        raise UserError(f"data.path={path} is not a file.")
    split_files = [
        (SPLITS[_split_name(item)], item)
        for item in sorted(path.iterdir())
        if is_table(item.name) and _split_name(item) in SPLITS
    ]
    if not split_files:
        raise UserError(
            f"data.path={path} is not a file, and has no train, dev or test file that ends in {', '.join(ENDINGS)}."
        )
    return list(split_files)


def _split_name(file: Path) -> str:
    return file.name.lower().split(".")[0].split("-")[0]


def _values(path: Path, columns: Columns | None) -> Iterator[tuple[Place, Mapping[str, object]]]:
    if columns or path.is_dir() or bare_name(path.name).endswith((".json", ".csv", ".tsv", ".parquet")):
        yield from read_rows(path, columns)
        return
    for place, value in read_objects(path, lists=True):
        items = value.get("") if len(value) == 1 else None
        if isinstance(items, list):  # query, positive, negatives
            if len(items) < 2 or not all(isinstance(item, str) for item in items):
                raise complain(place, "a list must hold a query, a positive, and negatives if any; all texts.")
            value = {"query": items[0], "positive": items[1], "negatives": items[2:]}
        yield place, value


def _collect(name: str, rows: list[PairRow], assigned: dict[str, str]) -> Collection:
    documents: dict[tuple[str, str], int] = {}
    document_ids: dict[int, str | None] = {}
    queries: dict[str, int] = {}
    query_ids: dict[int, str | None] = {}

    def number(passage: Passage) -> int:
        place = documents.setdefault((passage.title, passage.text), len(documents))
        document_ids.setdefault(place, passage.id)
        return place

    judged: dict[str, list[tuple[int, int, float]]] = {split: [] for split in dict.fromkeys(assigned.values())}
    listed: list[tuple[int, int]] = []
    for row in rows:
        place = queries.setdefault(row.query, len(queries))
        query_ids.setdefault(place, row.query_id)
        pairs = [(number(passage), row.grade) for passage in row.positives]
        pairs += [(number(passage), 0) for passage in row.negatives]
        split = row.split or assigned[normalised(row.query)]
        judged.setdefault(split, []).extend((place, *pair) for pair in pairs)
        if row.negatives:
            listed += [(place, document) for document, _ in pairs]
    return Collection(
        name=name,
        document_ids=_ids(document_ids, "d"),
        titles=[title for title, _ in documents],
        texts=[text for _, text in documents],
        query_ids=_ids(query_ids, "q"),
        query_texts=list(queries),
        judgements={split: Judgements.of(*zip(*graded, strict=True)) for split, graded in judged.items() if graded},
        candidates=Candidates.of(*zip(*listed, strict=True)) if listed else None,
    )


def _ids(given: Mapping[int, str | None], letter: str) -> list[str]:
    """Returns the file's own ids where all have one and no two share it, otherwise numbered ones."""
    own = [item for item in given.values() if item is not None]
    return own if len(own) == len(given) == len(set(own)) else [f"{letter}{row}" for row in range(len(given))]
