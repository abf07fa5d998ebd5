"""Any collection of the `ir_datasets` library (MacAvaney et al. 2021, https://ir-datasets.com), by its ids.

Each split is an id of its own (`beir/scifact/train`, `beir/scifact/test`); all must share one document collection.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import Any

from twotower.core.errors import UserError, nearest
from twotower.core.extras import missing
from twotower.data.collection import Candidates, Collection, Judgements
from twotower.data.lines import BLANKS, is_one_line, shown
from twotower.data.qrels import Ids


def load(splits: dict[str, str] | None, name: str | None = None, missing: str = "error") -> Collection:
    """Reads documents, queries, judgements and, where there are any, scored documents as candidates.

    Args:
        splits: the id of each split, such as {"train": "beir/scifact/train", "dev": "beir/scifact/test"}.
        name: what to call the collection (the first id otherwise).
        missing: `error` refuses judgements of documents and queries that are not there, `skip` leaves them out.

    Raises:
        UserError: when the library is missing, an id is unknown, lacks judgements or can't be had, or the ids do not
            share their documents.
    """
    if not splits:
        raise UserError("data=ir_datasets needs data.source.splits, such as '{train: ID, dev: ID}'.")
    parts = {split: _find(item) for split, item in splits.items()}
    try:
        return _collect(name or next(iter(splits.values())), splits, parts, missing)
    except UserError:
        raise
    except Exception as error:  # downloads and parsers of some forty collections raise as many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        reason = shorten(reason, width=160, placeholder=" ...")  # a failed download lists every address it tried
        raise UserError(f"data.source.splits={splits}: ir_datasets cannot read it ({reason}).") from error


def _find(item: str) -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise missing("data=ir_datasets", "ir_datasets") from error
    try:
        dataset = ir_datasets.load(item)
    except KeyError as error:
        known = list(ir_datasets.registry)
        raise UserError(f"data.source.splits: ir_datasets has no '{item}'.{nearest(item, known)}") from error
    for part in ("docs", "queries", "qrels"):
        if not getattr(dataset, f"has_{part}")():
            raise UserError(
                f"data.source.splits: '{item}' has no {part}; choose an id that has documents and judgements."
            )
    return dataset


def _collect(name: str, ids: dict[str, str], parts: dict[str, Any], missing: str) -> Collection:
    document_ids: list[str] = []
    titles: list[str] = []
    texts: list[str] = []
    for document in next(iter(parts.values())).docs_iter():
        title, text = _title_and_text(document)
        document_ids.append(document.doc_id.strip(BLANKS))
        titles.append(title)
        texts.append(text)
    queries = _queries(ids, parts)
    for what, items in (("document", document_ids), ("query", list(queries))):
        bad = next((item for item in items if not is_one_line(item)), None)
        if bad is not None:
            raise UserError(f"data.source.splits: {what} id {shown(bad)} of '{name}' holds a control character.")
    rows = Ids(
        queries={item: row for row, item in enumerate(queries)},
        documents={item: row for row, item in enumerate(document_ids)},
        missing=missing,
    )
    judgements: dict[str, Judgements] = {}
    listed: list[tuple[int, int]] = []
    for split, part in parts.items():
        graded = [(_pair(line, rows, split, ids[split]), line.relevance) for line in part.qrels_iter()]
        lines = [(*pair, grade) for pair, grade in graded if pair is not None]
        judgements[split] = Judgements.of(*zip(*lines, strict=True)) if lines else Judgements.of([], [], [])
        if part.has_scoreddocs():
            pairs = (_pair(line, rows, "the candidates", ids[split]) for line in part.scoreddocs_iter())
            listed += [pair for pair in pairs if pair is not None]
    return Collection(
        name=name,
        document_ids=document_ids,
        titles=titles,
        texts=texts,
        query_ids=list(queries),
        query_texts=list(queries.values()),
        judgements=judgements,
        candidates=Candidates.of(*zip(*listed, strict=True)) if listed else None,
        notes=rows.notes(),
    )


def _queries(ids: dict[str, str], parts: dict[str, Any]) -> dict[str, str]:
    queries: dict[str, str] = {}
    for split, part in parts.items():
        for query in part.queries_iter():
            text = query.default_text()
            if queries.setdefault(query.query_id.strip(BLANKS), text) != text:
                raise UserError(f"data.source.splits: query '{query.query_id}' of '{ids[split]}' has another text too.")
    return queries


def _pair(line: Any, rows: Ids, split: str, where: str) -> tuple[int, int] | None:
    query, document = line.query_id.strip(BLANKS), line.doc_id.strip(BLANKS)
    if rows.missing == "error":
        for known, item, what in ((rows.queries, query, "query"), (rows.documents, document, "document")):
            if item not in known:
                raise UserError(
                    f"'{where}' judges {what} '{item}', which its {what} list does not hold; do the ids share "
                    "documents? data.missing=skip leaves such judgements out."
                )
    return rows.rows(query, document, (Path(where), 0), split)


def _title_and_text(document: Any) -> tuple[str, str]:
    title, text = getattr(document, "title", None), getattr(document, "text", None)
    if isinstance(title, str) and isinstance(text, str):
        return title, text
    return "", document.default_text()
