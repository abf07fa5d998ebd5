"""A model evaluated with a Ray cluster: it encodes the documents in shards, builds their indexes and searches them.

What the indexes give is scored and ordered again as evaluations do, from the same vectors in float64 and ties by
document id, and asked for in greater number where equal scores might go on; so with exact indexes the ranking is that
of one machine over these vectors. All the rest is one machine's evaluation: BM25, chance, candidates, hybrid.

Legend: Q queries, D dimension, N documents, W hits, K ranks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from twotower.core.cache import content_key
from twotower.core.errors import UserError
from twotower.core.files import atomic_path, read_json
from twotower.core.progress import bar
from twotower.core.validators import check_count
from twotower.data.collection import Collection
from twotower.evaluation.nominate import VectorRows
from twotower.evaluation.ranking import Ranking, rank_candidates
from twotower.evaluation.results import Evaluation
from twotower.evaluation.trained import evaluate_checkpoint
from twotower.index.export import check
from twotower.index.shards_ray import Ranked, check_choice_of_one, search_by_tasks
from twotower.index.vectors import normalise
from twotower.model.checkpoint import Checkpoint
from twotower.model.encoding import encode, reads_padding
from twotower.model.shards import SHARD_ROWS, Plan, claim, complete, open_shards
from twotower.model.shards_ray import cluster, encode_by_tasks

SHARDS = 16
"""Shards of a collection unless told otherwise, more where they would pass `SHARD_ROWS`."""
LOOKED_AT = 64
"""Documents that are encoded again to see whether given vectors are theirs."""
ALIKE = 0.99
"""Cosine of a vector and the same as float16 or from another batch: far above it. Of another text: below."""


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """What is done on a cluster, and where its files go.

    Attributes:
        address: see `twotower.model.shards_ray.connect`.
        out: folder of vectors and indexes; what is finished there is used.
        index_config: one choice of the `index` group, {name: settings}.
        tasks: how many share the shards.
        vectors: a complete folder of `twotower encode` to be used instead of encoding.
        shard_rows: documents of a shard; None: a sixteenth of them, 65,536 at most.
    """

    address: str
    out: Path
    index_config: Mapping[str, Any]
    tasks: int = 1
    vectors: Path | None = None
    shard_rows: int | None = None


def evaluate_on_ray(
    checkpoint: Checkpoint,
    collection: Collection,
    split: str,
    where: OnRay,
    *,
    untrained: Mapping[str, Mapping[str, float]] | None = None,
) -> tuple[Evaluation, dict[str, Any]]:
    """Evaluates as `evaluate_checkpoint` does, the whole collection encoded and ranked by a cluster.

    Args:
        checkpoint: as for `evaluate_checkpoint`.
        collection: see there.
        split: see there.
        where: the cluster and the folders.
        untrained: see there.

    Returns:
        The evaluation, and how it was ranked: `index`, `shards`, `vectors` and their `dtype`.

    Raises:
        UserError: as `evaluate_checkpoint` and `search_on_ray`, for vectors that aren't this model's of these documents
            in this order, or a tower whose vectors depend on the texts beside.
    """
    check_count("--devices", where.tasks)
    check_choice_of_one(where.index_config)
    check(where.index_config, dim=checkpoint.model.output_dim)
    collection.split(split)
    if reads_padding(getattr(checkpoint.model, "document_tower", None)):
        raise UserError("pooling=pad_step reads padding, so shards get other vectors: evaluate it without --ray.")
    folder = where.vectors or where.out / "vectors"
    if where.vectors is not None:
        _check_texts(checkpoint, collection, folder)
    with cluster(where.address) as ray:
        if where.vectors is None:
            _encode(ray, checkpoint, collection, where, folder)
        parts, _ = _open(collection, folder)
        search = partial(_search, ray, where, folder)
        document_ND = np.concatenate(parts)
        evaluation = evaluate_checkpoint(
            checkpoint,
            collection,
            split,
            untrained=untrained,
            document_ND=document_ND if document_ND.dtype == np.float32 else normalise(document_ND),
            rank_whole=partial(rank_hits, search),
        )
    facts = {"index": next(iter(where.index_config)), "shards": len(parts)}
    return evaluation, {**facts, "vectors": str(folder), "dtype": str(document_ND.dtype)}


def rank_hits(
    search: Callable[[np.ndarray, int], Ranked],
    query_QD: np.ndarray,
    document_ND: np.ndarray,
    *,
    order: np.ndarray,
    k: int,
    max_memory: int,
    **_: Any,
) -> Ranking:
    """Ranks as `rank_full` what a search gives, which is asked for more where a document it left out might rank.

    Args:
        search: gives cosines [Q, W] descending and document rows [Q, W], -1 for none, of queries [Q, D] and W.
        query_QD: query vectors.
        document_ND: document vectors.
        order: place of each document's id in string order, which decides ties.
        k: ranks to keep.
        max_memory: bytes the work may use above the vectors.
    """
    count, depth = len(document_ND), min(k, len(document_ND))
    lengths_N, lengths_Q = (VectorRows(part, "", None).lengths().double().numpy() for part in (document_ND, query_QD))
    rows_QK = np.full((len(query_QD), depth), -1, dtype=np.int64)
    scores_QK = np.full((len(query_QD), depth), -np.inf, dtype=np.float32)
    waiting, width = np.arange(len(query_QD)), depth + max(28, depth // 4)
    while len(waiting):
        width = min(width, count)
        cosines_QW, hits_QW = search(query_QD[waiting], width)
        offsets = np.concatenate([[0], np.cumsum((hits_QW >= 0).sum(axis=1))])
        given: dict[str, Any] = {
            "offsets": offsets,
            "candidates": hits_QW[hits_QW >= 0],
            "order": order,
            "max_memory": max_memory,
        }
        ranking = rank_candidates(query_QD[waiting], document_ND, k=depth, **given)
        rows_QK[waiting, : ranking.rows.shape[1]] = ranking.rows
        scores_QK[waiting, : ranking.rows.shape[1]] = ranking.scores
        last_Q = cosines_QW[:, -1].astype(np.float64)  # nothing that was left out is nearer; -inf: nothing was
        longest = np.where(last_Q > 0, lengths_N.max(), lengths_N.min())
        rounding = (query_QD.shape[1] + 4) * 2.0**-24 * lengths_N.max()
        unsure = scores_QK[waiting, -1] <= lengths_Q[waiting] * (last_Q * longest + rounding)
        waiting = waiting[unsure & (hits_QW[:, -1] >= 0) & (width < count)]
        width *= 8
    return Ranking(rows=rows_QK, scores=scores_QK, pool_size=np.full(len(query_QD), count, dtype=np.int64))


def _search(ray: Any, where: OnRay, folder: Path, query_QD: np.ndarray, k: int) -> Ranked:
    out = where.out / "indexes" / next(iter(where.index_config))
    share = {"index_config": where.index_config, "out": out, "tasks": where.tasks}
    with _tasks_bar("Indexes and ranking on Ray", where.tasks) as progress:
        return search_by_tasks(ray, folder, query_QD, k, progress=progress, **share)  # type: ignore[arg-type]


def _encode(ray: Any, checkpoint: Checkpoint, collection: Collection, where: OnRay, folder: Path) -> None:
    """Encodes what is missing of a collection's documents, in shards of float32."""
    count = len(collection.document_ids)
    rows = where.shard_rows or min(SHARD_ROWS, -(-count // SHARDS))
    plan = Plan(source=_written(collection, where.out), folder=folder.resolve(), dtype="float32", shard_rows=rows)
    claim(checkpoint, plan)
    if read_json(folder / "manifest.json").get("complete") is True:
        return
    with _tasks_bar("Encoding on Ray", where.tasks) as progress:
        complete(checkpoint, plan, encode_by_tasks(ray, checkpoint.path.resolve(), plan, where.tasks, progress))


@contextmanager
def _tasks_bar(title: str, tasks: int) -> Iterator[Callable[[int], None]]:
    """Yields what takes the number of tasks that have just ended."""
    ended = 0
    with bar(title) as progress:

        def count(number: int) -> None:
            nonlocal ended
            ended += number
            progress(ended / tasks)

        yield count


def _written(collection: Collection, out: Path) -> Path:
    """Returns a file of the collection's documents as towers read them, which all machines see; written once."""
    texts = collection.document_texts()
    path = out.resolve() / f"documents-{content_key('documents 1', collection.document_ids, texts)[:16]}.jsonl"
    if not path.is_file():
        pairs = zip(collection.document_ids, texts, strict=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps({'_id': key, 'text': text})}\n" for key, text in pairs)
    return path


def _open(collection: Collection, folder: Path) -> tuple[list[np.ndarray], list[str]]:
    """Opens shards, refusing those of other documents."""
    parts, ids = open_shards(folder)
    if len(ids) != len(collection.document_ids):
        raise UserError(f"{folder} holds {len(ids)} vectors; {collection.name} has {len(collection.document_ids)}.")
    pairs = enumerate(zip(ids, collection.document_ids, strict=True))
    other = next((f"row {row} is '{held}', not '{own}'" for row, (held, own) in pairs if held != own), None)
    if other is not None:
        raise UserError(
            f"{folder} holds vectors of other documents than {collection.name}, or in another order: {other}."
        )
    return parts, ids


def _check_texts(checkpoint: Checkpoint, collection: Collection, folder: Path) -> None:
    """Refuses given vectors of another model or side, or of other documents, by their ids and some of their texts."""
    parts, ids = _open(collection, folder)
    manifest = read_json(folder / "manifest.json")
    if manifest.get("checkpoint_sha256") != checkpoint.sha256:
        held = manifest.get("checkpoint")
        raise UserError(f"{folder} holds vectors of another model ({held}), not of {checkpoint.path.name}.")
    if manifest.get("side") != "document":
        raise UserError(f"{folder} holds vectors of the side {manifest.get('side')}; documents are searched.")
    rows = np.unique(np.linspace(0, len(ids) - 1, LOOKED_AT).astype(np.int64))
    shards = np.searchsorted(np.cumsum([len(part) for part in parts]), rows, side="right")
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    held_SD = np.stack([parts[at][row - starts[at]] for at, row in zip(shards, rows, strict=True)])
    texts = collection.document_texts()
    tokens = checkpoint.tokenizer.encode([texts[row] for row in rows], checkpoint.max_document_length)
    own_SD = encode(checkpoint.model, tokens, side="document")
    cosines_S = np.einsum("sd,sd->s", normalise(own_SD), normalise(held_SD))
    if cosines_S.min() < ALIKE:
        row = int(rows[cosines_S.argmin()])
        raise UserError(f"{folder}: row {row} is no vector of what {collection.name} holds of document '{ids[row]}'.")
