"""TREC run files: what trec_eval and its like read, `query Q0 document rank score tag` on each line.

trec_eval goes by the scores, not by the ranks, and breaks ties by document id descending. Ours are broken ascending, so
where scores tie the written ones are lowered by the smallest step that keeps the order; any reader then sees our order.

Shapes: Q queries, K ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twotower.core.errors import UserError, nearest
from twotower.core.files import atomic_path
from twotower.data.collection import Collection
from twotower.evaluation.pools import document_order
from twotower.evaluation.ranking import Ranking, order_candidates


def write_run(
    path: str | Path,
    ranking: Ranking,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    *,
    tag: str = "twotower",
) -> None:
    """Writes a ranking as a TREC run file, atomically.

    Args:
        path: the file.
        ranking: rows [Q, K] into `document_ids`.
        query_ids: ids of the Q queries.
        document_ids: ids of all documents.
        tag: names the run in the last column.

    Raises:
        UserError: for an id or tag with a blank in it or empty, which the format can't hold; nothing is written then.
    """
    query, rank = np.nonzero(ranking.rows >= 0)
    rows = ranking.rows[query, rank]
    tag = "_".join(tag.split()) or "twotower"
    for what, ids in (("query", query_ids), ("document", document_ids)):
        bad = next((item for item in ids if not item or item.split() != [item]), None)
        if bad is not None:
            raise UserError(f"A TREC run separates columns by blanks, so it can't hold the {what} id '{bad}'.")
    scores = _falling(ranking.scores)[query, rank]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        columns = zip(query.tolist(), rows.tolist(), rank.tolist(), scores.tolist(), strict=True)
        file.writelines(f"{query_ids[q]} Q0 {document_ids[d]} {r + 1} {s:.9g} {tag}\n" for q, d, r, s in columns)


def _falling(scores_QK: np.ndarray) -> np.ndarray:
    """Lowers scores as little as needed for each to be below the one before."""
    result = scores_QK.astype(np.float32, copy=True)
    for rank in range(1, result.shape[1]):
        result[:, rank] = np.minimum(result[:, rank], np.nextafter(result[:, rank - 1], np.float32(-np.inf)))
    return result


def read_run(path: str | Path, collection: Collection, *, k: int = 100) -> tuple[np.ndarray, Ranking]:
    """Reads a TREC run file against a collection: anyone's system, measured like ours.

    Args:
        path: the file; its order is by score, ties by document id ascending (the rank column isn't used).
        collection: where the ids are looked up.
        k: ranks to keep.

    Returns:
        (query rows [Q] in ascending order, their ranking [Q, k]; pool_size is the number of lines of each query).

    Raises:
        UserError: for a malformed line, an unknown id or a repeated document, with file and line number.
    """
    query_at = {item: at for at, item in enumerate(collection.query_ids)}
    document_at = {item: at for at, item in enumerate(collection.document_ids)}
    queries, documents, scores = [], [], []
    for number, line in _lines(path):
        parts = line.split()
        if len(parts) != 6:
            raise UserError(
                f"{path}, line {number}: {len(parts)} columns; a run has 6: query Q0 document rank score tag."
            )
        for what, item, known in (("query", parts[0], query_at), ("document", parts[2], document_at)):
            if item not in known:
                raise UserError(
                    f"{path}, line {number}: unknown {what} id '{item}'.{nearest(item, list(known)[:5000])}"
                )
        try:
            score = float(parts[4])
        except ValueError:
            score = float("nan")
        if not np.isfinite(score):
            raise UserError(f"{path}, line {number}: '{parts[4]}' is not a score; a finite number is needed.")
        queries.append(query_at[parts[0]])
        documents.append(document_at[parts[2]])
        scores.append(score)
    return _arranged(path, np.array(queries, np.int64), np.array(documents, np.int64), np.array(scores), collection, k)


def _arranged(
    path: str | Path, query: np.ndarray, document: np.ndarray, score: np.ndarray, collection: Collection, k: int
) -> tuple[np.ndarray, Ranking]:
    pairs, counts = np.unique(np.stack([query, document]), axis=1, return_counts=True)
    if (counts > 1).any():
        row, column = pairs[:, np.argmax(counts > 1)]
        names = f"'{collection.document_ids[column]}' for query '{collection.query_ids[row]}'"
        raise UserError(f"{path}: document {names} is listed more than once.")
    order = np.argsort(query, kind="stable")
    rows, sizes = np.unique(query, return_counts=True)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    ranking = order_candidates(
        score[order].astype(np.float32),
        offsets=offsets,
        candidates=document[order],
        order=document_order(collection),
        k=k,
    )
    return rows, ranking


def _lines(path: str | Path) -> list[tuple[int, str]]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read the run file {path}: {error}.") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise UserError(f"{path} holds no line of a run.")
    return lines
