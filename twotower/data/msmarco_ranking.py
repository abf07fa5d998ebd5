"""MS MARCO's ranking files: collection.tsv, queries.<set>.tsv, qrels.<set>.tsv, and triples of texts or ids.

`collection.tsv` and `queries.*.tsv` are two columns (id, text), `qrels.*.tsv` TREC's four; none has a header line.
`qidpidtriples.*.tsv` (query, relevant, irrelevant passage id) and `top1000.*` give the candidates. Everything may be
packed. Bajaj et al. 2016. Research use only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from twotower.core.errors import UserError
from twotower.core.packed import bare_name
from twotower.data.collection import Candidates, Collection
from twotower.data.lines import BLANKS, complain, find_file, is_one_line, read_lines
from twotower.data.qrels import Ids, read_judgements

log = logging.getLogger(__name__)

CORPUS = "collection.tsv"


def is_ranking(path: Path) -> bool:
    """Says whether a folder holds MS MARCO's ranking files."""
    return path.is_dir() and find_file(path, CORPUS) is not None


def ranking_files(path: Path) -> list[Path]:
    """Returns every file of the folder that is read."""
    kinds = ("collection.tsv*", "queries.*.tsv*", "qrels.*.tsv*", "qidpidtriples.*.tsv*", "top1000.*")
    return sorted({file for kind in kinds for file in path.glob(kind)})


def load_ranking(path: Path, *, limit: int | None = None, missing: str = "error", name: str = "msmarco") -> Collection:
    """Reads the folder.

    Args:
        path: the folder.
        limit: at most this many queries of each split, the first ones; None for all.
        missing: `error` refuses judgements of unknown documents and queries, `skip` leaves them out.
        name: what to call the collection.

    Raises:
        UserError: for a missing file or a malformed line (file and line number).
    """
    corpus = find_file(path, CORPUS)
    judged = _split_files(path)
    queries = dict(pair for file in sorted(path.glob("queries.*.tsv*")) for pair in _pairs(file))
    if corpus is None or not queries:
        raise UserError(f"data.path={path} needs {CORPUS}, queries.<set>.tsv and qrels.<set>.tsv.")
    document_ids, texts = map(list, zip(*_pairs(corpus), strict=True))
    ids = Ids(
        queries={item: row for row, item in enumerate(queries)},
        documents={item: row for row, item in enumerate(document_ids)},
        missing=missing,
    )
    judgements = {split: read_judgements(file, split, ids) for split, file in judged.items()}
    for note in ids.notes():
        log.warning("%s: %s", path.name, note)
    if limit is not None:
        judgements = {split: item.of_queries(item.queries[:limit]) for split, item in judgements.items()}
    return Collection(
        name=name,
        document_ids=document_ids,
        titles=[""] * len(texts),
        texts=texts,
        query_ids=list(queries),
        query_texts=list(queries.values()),
        judgements=judgements,
        candidates=_candidates(path, ids),
        notes=ids.notes(),
    )


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    known: dict[str, int] = {}
    for place, line in read_lines(file):
        item, tab, text = line.partition("\t")
        item = item.strip(BLANKS)
        if not tab or not item or not is_one_line(item):
            raise complain(place, "needs an id and a text parted by a tab.")
        if known.setdefault(item, place[1]) != place[1]:
            raise complain(place, f"id '{item}' was already given on line {known[item]}.")
        yield item, text
    if not known:
        raise UserError(f"{file} is empty; it needs an id and a text on each line.")


def _split_files(path: Path) -> dict[str, Path]:
    """Returns the judgements of each split: `qrels.dev.small.tsv` is `dev`, a full one beside it `dev_full`."""
    files_by_split: dict[str, Path] = {}
    for file in sorted(path.glob("qrels.*.tsv*"), key=lambda item: ".small" not in item.name):
        split = bare_name(file.name).removesuffix(".tsv").removeprefix("qrels.")
        short = split.removesuffix(".small")
        files_by_split[short if short not in files_by_split else f"{short}_full"] = file
    if not files_by_split:
        raise UserError(f"data.path={path} has no judgements; put qrels.train.tsv and qrels.dev.small.tsv there.")
    return files_by_split


def _candidates(path: Path, ids: Ids) -> Candidates | None:
    """Returns the passages that triples and top-1000 files name for a query; ids that are not there are passed over."""
    parts: list[tuple[int, int]] = []
    for file in sorted({*path.glob("qidpidtriples.*.tsv*"), *path.glob("top1000.*")}):
        triples = file.name.startswith("qidpid")
        for _, line in read_lines(file):
            fields = line.split("\t")
            row = ids.queries.get(fields[0])
            places = (ids.documents.get(item) for item in (fields[1:3] if triples else fields[1:2]))
            parts += [(row, place) for place in places if row is not None and place is not None]
    if not parts:
        return None
    query, document = np.array(parts, dtype=np.int64).T
    return Candidates.of(query, document)
