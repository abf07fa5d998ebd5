"""Indexes over the shards of `twotower encode`, built and searched by a Ray cluster, and one exact answer from all.

Every shard of vectors gets an index of its own, on the machine that takes it; each query goes to all, and the hits are
merged by score. All backends give cosines, so with exact indexes the answer is that of one index over everything, rows
and scores to the last bit: the exact index adds up a document's score in float64, the same way in whatever company, and
equal scores come by row, here as there. The machines see the same files under the same paths.

Legend: N documents, D dimension, Q queries, K ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from twotower.config.instantiate import plain
from twotower.config.trust import trust, trusted_packages
from twotower.core.errors import UserError
from twotower.core.files import atomic_path, read_json, write_json
from twotower.core.validators import check_count
from twotower.index.base import Index
from twotower.index.export import make_indexes
from twotower.index.vectors import best_first, leading
from twotower.model.shards import open_shards
from twotower.model.shards_ray import cluster

Ranked = tuple[np.ndarray, np.ndarray]
DONE = "done"
"""Stands in the folder of every shard's finished index, and says of what it was made; written last."""


def search_on_ray(
    vectors: Path,
    query_QD: np.ndarray,
    k: int,
    *,
    index_config: Mapping[str, Any],
    out: Path,
    address: str = "local",
    tasks: int = 2,
) -> Ranked:
    """Builds what indexes are missing and searches all of them.

    Args:
        vectors: a complete folder of `twotower encode`.
        query_QD: query vectors.
        k: how many documents.
        index_config: one choice of the `index` group, {name: settings}.
        out: where the indexes go, a folder for each shard; those that are there already are used.
        address: see `twotower.model.shards_ray.connect`.
        tasks: how many share the shards.

    Returns:
        Cosine similarities float32 [Q, K] descending and document rows int64 [Q, K], counted over all shards in order.

    Raises:
        UserError: for an index that can't be built, a folder that isn't complete, one of indexes of other vectors or
            settings, a cluster that isn't there, or a worker that died.
    """
    check_count("tasks", tasks)
    check_choice_of_one(index_config)
    open_shards(vectors)
    with cluster(address) as ray:
        return search_by_tasks(ray, vectors, query_QD, k, index_config=index_config, out=out, tasks=tasks)


def search_by_tasks(
    ray: Any,
    vectors: Path,
    query_QD: np.ndarray,
    k: int,
    *,
    index_config: Mapping[str, Any],
    out: Path,
    tasks: int,
    progress: Callable[[int], None] | None = None,
) -> Ranked:
    """Does what `search_on_ray` says on a cluster that is connected.

    Args:
        ray: from `twotower.model.shards_ray.cluster`.
        vectors: as for `search_on_ray`, as are the others.
        query_QD: see there.
        k: see there.
        index_config: see there.
        out: see there.
        tasks: see there.
        progress: called with the number of tasks that have just ended.
    """
    parts, _ = open_shards(vectors)
    task = ray.remote(num_cpus=1)(_search_part)
    queries = ray.put(np.asarray(query_QD, np.float32))
    share = {"vectors": vectors.resolve(), "k": k, "out": out.resolve(), "tasks": tasks}
    share |= {"settings": plain(index_config), "trusted": trusted_packages()}
    waiting = [task.remote(queries, rank=rank, **share) for rank in range(tasks)]
    answers: list[Ranked] = []
    while waiting:
        (ended, *_), waiting = ray.wait(waiting)
        answer = ray.get(ended)
        answers += [] if answer is None else [answer]
        if progress is not None:
            progress(1)
    return merge(answers, min(k, sum(map(len, parts))))


def check_choice_of_one(index_config: Mapping[str, Any]) -> None:
    """Fails for a choice of indexes that shards can't be searched by.

    Raises:
        UserError: for none or several, or one that a server or another folder holds, whose shards would be one index.
    """
    if len(index_config) != 1:
        raise UserError(f"index_config names {len(index_config)} indexes; shards are searched by one.")
    ((name, index),) = make_indexes(index_config).items()
    if type(index).publish is not Index.publish:
        raise UserError(f"index={name} is kept outside the folders of shards: take exact, or one of faiss_*.")


def merge(answers: list[Ranked], k: int) -> Ranked:
    """Returns the k best hits of several answers, rows counted alike; equal scores by row, as one index has them.

    Args:
        answers: scores [Q, K] and rows [Q, K] of each.
        k: how many.
    """
    scores_QC, rows_QC = (np.concatenate(side, axis=1) for side in zip(*answers, strict=True))
    return best_first(scores_QC, rows_QC, k)


def _search_part(
    query_QD: np.ndarray,
    *,
    vectors: Path,
    k: int,
    settings: dict[str, Any],
    out: Path,
    rank: int,
    tasks: int,
    trusted: tuple[str, ...] = (),
) -> Ranked | None:
    """What one task does, in a process of the cluster: every `tasks`-th shard."""
    trust(trusted)
    parts, ids = open_shards(vectors)
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    origin = {"vectors": read_json(vectors / "manifest.json"), "settings": settings}
    answers = []
    for shard in range(rank, len(parts), tasks):
        first, last = int(starts[shard]), int(starts[shard + 1])
        index = _index_of(parts[shard], ids[first:last], origin, out / f"shard-{shard:05d}")
        scores_QK, rows_QK = index.search(query_QD, k)
        answers.append((scores_QK, np.where(rows_QK >= 0, rows_QK + first, -1)))
    return merge(answers, k) if answers else None


def _index_of(vectors_ND: np.ndarray, ids: list[str], origin: dict[str, Any], folder: Path) -> Index:
    (index,) = make_indexes(origin["settings"]).values()
    if (folder / DONE).is_file():
        if _origin_of(folder) != origin:
            raise UserError(
                f"{folder} was made of other vectors or with other settings: choose another out or remove it."
            )
        index.load(folder)
        return index
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder) as part:
        part.mkdir()
        index.build(leading(vectors_ND, index.dims), ids, part)
        write_json(part / DONE, origin)
    index.load(folder)
    return index


def _origin_of(folder: Path) -> Any:
    try:
        return read_json(folder / DONE)
    except UserError:
        return None
