"""Any collection of the `ir_datasets` library (MacAvaney et al. 2021, https://ir-datasets.com), by its ids.

Each split is an id of its own (`beir/scifact/train`, `beir/scifact/test`); all must share one document collection.
"""

from __future__ import annotations

from typing import Any

from twotower.data.collection import Candidates, Collection, Judgements
from twotower.errors import UserError, nearest


def load(splits: dict[str, str] | None, name: str | None = None) -> Collection:
    """Reads documents, queries, judgements and, where there are any, scored documents as candidates.

    Args:
        splits: the id of each split, such as {"train": "beir/scifact/train", "dev": "beir/scifact/test"}.
        name: what to call the collection (the first id otherwise).

    Raises:
        UserError: when the library is missing, an id is unknown, lacks judgements or can't be had, or the ids do not
            share their documents.
    """
    if not splits:
        raise UserError("data=ir_datasets needs data.source.splits, such as '{train: ID, dev: ID}'.")
    parts = {split: _find(item) for split, item in splits.items()}
    try:
        return _collect(name or next(iter(splits.values())), splits, parts)
    except UserError:
        raise
    except Exception as error:  # downloads and parsers of some forty collections raise as many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"data.source.splits={splits}: ir_datasets cannot read it ({reason}).") from error


def _find(item: str) -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise UserError("data=ir_datasets needs the ir extra: pip install 'twotower[ir]'.") from error
    try:
        found = ir_datasets.load(item)
    except KeyError as error:
        known = list(ir_datasets.registry)
        raise UserError(f"data.source.splits: ir_datasets has no '{item}'.{nearest(item, known)}") from error
    for part in ("docs", "queries", "qrels"):
        if not getattr(found, f"has_{part}")():
            raise UserError(
                f"data.source.splits: '{item}' has no {part}; choose an id that has documents and judgements."
            )
    return found


def _collect(name: str, ids: dict[str, str], parts: dict[str, Any]) -> Collection:
    document_rows: dict[str, int] = {}
    titles: list[str] = []
    texts: list[str] = []
    for document in next(iter(parts.values())).docs_iter():
        document_rows[document.doc_id] = len(document_rows)
        title, text = _title_and_text(document)
        titles.append(title)
        texts.append(text)
    queries: dict[str, str] = {}
    query_rows: dict[str, int] = {}
    judgements: dict[str, Judgements] = {}
    listed: list[tuple[int, int]] = []
    for split, part in parts.items():
        for query in part.queries_iter():
            if queries.setdefault(query.query_id, query.default_text()) != query.default_text():
                raise UserError(
                    f"data.source.splits: query '{query.query_id}' of '{ids[split]}' has another text elsewhere."
                )
            query_rows.setdefault(query.query_id, len(query_rows))
        rows = []
        for line in part.qrels_iter():
            pair = (
                _row(query_rows, line.query_id, "query", ids[split]),
                _row(document_rows, line.doc_id, "document", ids[split]),
            )
            rows.append((*pair, float(line.relevance)))
        judgements[split] = Judgements.of(*zip(*rows, strict=True)) if rows else Judgements.of([], [], [])
        if part.has_scoreddocs():
            for line in part.scoreddocs_iter():
                listed.append(
                    (
                        _row(query_rows, line.query_id, "query", ids[split]),
                        _row(document_rows, line.doc_id, "document", ids[split]),
                    )
                )
    return Collection(
        name=name,
        document_ids=list(document_rows),
        titles=titles,
        texts=texts,
        query_ids=list(queries),
        query_texts=list(queries.values()),
        judgements=judgements,
        candidates=Candidates.of(*zip(*listed, strict=True)) if listed else None,
    )


def _title_and_text(document: Any) -> tuple[str, str]:
    title, text = getattr(document, "title", None), getattr(document, "text", None)
    if isinstance(title, str) and isinstance(text, str):
        return title, text
    return "", document.default_text()


def _row(rows: dict[str, int], item: str, what: str, where: str) -> int:
    if item not in rows:
        raise UserError(
            f"'{where}' judges {what} '{item}', which its {what} list does not hold; do the ids share documents?"
        )
    return rows[item]
