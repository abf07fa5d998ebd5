"""From vectors to finished indexes in a run's folder, each one whole or not at all.

Legend: N documents, D dimension, Q queries.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twotower.config.instantiate import instantiate, plain
from twotower.config.trust import admit
from twotower.core.addresses import without_credentials
from twotower.core.errors import UserError
from twotower.core.files import atomic_path
from twotower.core.secrets import masked
from twotower.core.validators import check_count
from twotower.index import manifest
from twotower.index.base import DEPTHS, BuildPausedError, Index, Probe, Texts
from twotower.index.pace import SLOWER, exact_ms, one_query_ms
from twotower.index.recall import make_probe, measure
from twotower.index.resume import SAMPLE_ROWS_FILE, finish, part_folder
from twotower.index.vectors import Progress, Vectors, leading, sample_rows, take

log = logging.getLogger(__name__)

SAMPLE_SIZE = 256


class IndexExportError(UserError):
    """Some index could not be written; `written` holds the manifests of those that could, by name.

    `resumable` says that one of the others can go on from what it has.
    """

    def __init__(self, message: str, *, written: dict[str, dict[str, Any]], resumable: bool = False) -> None:
        super().__init__(message)
        self.written, self.resumable = written, resumable


def make_indexes(index_config: Mapping[str, Any] | None) -> dict[str, Index]:
    """Builds the objects of a config's `index` group, by name; an empty group (index=none) gives none.

    Raises:
        UserError: for a setting that is misspelt or out of range.
    """
    made = {}
    for name, settings in (plain(index_config) or {}).items():
        if not isinstance(settings, Mapping) or "_target_" not in settings:
            raise UserError(f"index.{name} is not an index: choose from conf/index, as in index=[faiss_flat,redis].")
        if Path(str(name)).name != str(name) or str(name).startswith("."):
            raise UserError(
                f"index.{name}: the name of an index is the name of its folder, without '/' or a dot first."
            )
        rest = {key: value for key, value in settings.items() if key != "dims"}
        made[str(name)] = instantiate(rest, f"index.{name}", name=str(name))
        if not isinstance(made[str(name)], Index):
            target = settings["_target_"]
            raise UserError(f"index.{name}._target_={target} is no index: a subclass of twotower.index.base.Index.")
        if settings.get("dims") is not None:
            made[str(name)].dims = check_count(f"index.{name}.dims", settings["dims"])
    return made


def check(index_config: Mapping[str, Any] | None, *, dim: int | None = None) -> None:
    """Fails before any training where an index could not be written: no GPU, no Redis, an impossible factory string.

    Args:
        index_config: the config's `index` group.
        dim: width of the vectors to come, when known.
    """
    for index in make_indexes(index_config).values():
        if dim is not None and (index.dims or 0) > dim:
            raise UserError(f"index.{index.name}.dims={index.dims} asks for more than the vectors have: {dim} numbers.")
        index.check(dim=index.dims or dim)


def export(
    index_config: Mapping[str, Any] | None,
    vectors_ND: Vectors,
    document_ids: Sequence[str],
    *,
    identity: Mapping[str, Any],
    run_dir: str | Path,
    query_QD: np.ndarray | None = None,
    seed: int = 0,
    texts: Texts | None = None,
    titles: Texts | None = None,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Builds every index of a config into `<run>/index/<name>`, replacing a former one only when complete.

    Args:
        index_config: the config's `index` group; empty builds nothing.
        vectors_ND: document vectors, in memory, memory-mapped or `Shards`.
        document_ids: their ids, same order.
        identity: from `manifest.identity_of`.
        run_dir: the run's folder.
        query_QD: encoded queries to tune and measure recall with; without them some documents stand in.
        seed: chooses the samples.
        texts: gives what people search of some rows, for indexes that hold texts too; None leaves texts out.
        titles: gives the titles of some rows, beside `texts`.
        progress: told (stage, done, total), the stage starting with the index's name.

    Returns:
        The manifests, by index name.

    Raises:
        IndexExportError: after all were tried, naming those that failed; the others are in place.
    """
    indexes = make_indexes(index_config)
    if not indexes:
        return {}
    probe = make_probe(vectors_ND, query_QD, k=DEPTHS[-1], seed=seed, progress=progress)
    rows_S = sample_rows(int(vectors_ND.shape[0]), SAMPLE_SIZE, seed)
    config = plain(index_config)
    done: dict[str, dict[str, Any]] = {}
    failed: dict[str, Exception] = {}
    for name, index in indexes.items():
        try:
            folder = Path(run_dir) / "index" / name
            held_ND = leading(vectors_ND, index.dims)
            sample = {"rows_S": rows_S, "sample_SD": take(held_ND, rows_S)}
            own = probe if index.dims is None else _cut_probe(held_ND, query_QD, index.dims, seed, progress)
            if texts is not None:
                index.read_texts(texts, titles)
            parts = {"identity": identity, "config": config[name], **sample, "own": own, "progress": progress}
            done[name] = _export_one(index, (vectors_ND, held_ND), document_ids, folder, probe=probe, **parts)
        except Exception as error:  # one backend's trouble must not cost the others; all are raised as one at the end
            unforeseen = None if isinstance(error, UserError) else error  # perhaps ours: then the log says where
            log.error("index.%s was not written: %s", name, _said(error), exc_info=unforeseen)
            failed[name] = error
    if failed:
        raise _not_written(failed, done) from next(iter(failed.values()))
    return done


def _cut_probe(held_ND: Vectors, query_QD: np.ndarray | None, dims: int, seed: int, progress: Progress | None) -> Probe:
    """Returns the probe of an index that holds the first numbers of every vector only."""
    cut_QD = None if query_QD is None else np.asarray(leading(query_QD, dims))
    return make_probe(held_ND, cut_QD, k=DEPTHS[-1], seed=seed, progress=progress)


def _not_written(failed: Mapping[str, Exception], done: dict[str, dict[str, Any]]) -> IndexExportError:
    """Returns the one error that names all indexes that failed, and those that are in place."""
    others = f" Written: {', '.join(done)}." if done else ""
    problems = " ".join(f"[{name}] {_said(error)}" for name, error in failed.items())
    resumable = any(isinstance(error, BuildPausedError) for error in failed.values())
    return IndexExportError(f"Index not written: {problems}{others}", written=done, resumable=resumable)


def _said(error: Exception) -> str:
    """Returns what an error says, with its kind where that says the rest ("KeyError: 'row'")."""
    speaks = isinstance(error, (UserError, OSError, RuntimeError)) and str(error)
    return str(error) if speaks else f"{type(error).__name__}: {error}".rstrip(": ")


def _export_one(
    index: Index,
    vectors: tuple[Vectors, Vectors],
    document_ids: Sequence[str],
    folder: Path,
    *,
    identity: Mapping[str, Any],
    config: Mapping[str, Any],
    rows_S: np.ndarray,
    sample_SD: np.ndarray,
    probe: Probe,
    own: Probe,
    progress: Progress | None,
) -> dict[str, Any]:
    """Builds one index of the vectors that it holds, tuned by its own probe; recall is that of the whole vectors."""
    whole_ND, held_ND = vectors

    def report(stage: str, part: int, whole: int) -> None:
        if progress:
            progress(f"{index.name}: {stage}", part, whole)

    key = {"identity": dict(identity), "config": dict(config), "shape": list(held_ND.shape)}
    part = folder.with_name(f".{folder.name}.part")
    try:
        with atomic_path(folder) as final, part_folder(part, key, sample_SD):
            index.bind(identity)
            started = time.perf_counter()
            index.build(held_ND, document_ids, part, probe=own, progress=report)
            seconds = time.perf_counter() - started
            finish(part)
            np.save(part / SAMPLE_ROWS_FILE, rows_S)
            recall = {k: round(measure(index, whole_ND, probe.at(k)), 6) for k in probe.depths}
            facts = _facts(index, config, recall, probe, seconds)
            _add_pace(facts, index, held_ND, own)
            written = manifest.write(part, identity=identity, facts=facts)
            os.rename(part, final)
    except BaseException as error:
        _let_go(index, resumable=getattr(error, "resumable", not isinstance(error, Exception)))
        raise
    try:
        index.publish()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # what was not published is not there to be searched
        raise
    log.info("index.%s: %d documents, recall@10 %.3f, %.1f s", index.name, index.count, facts["recall_at_10"], seconds)
    return written


def _let_go(index: Index, *, resumable: bool) -> None:
    """Pauses a build that can go on, clears one away that failed; trouble with that doesn't hide what went before."""
    try:
        index.pause() if resumable else index.discard()
    except Exception as error:
        log.warning("index.%s: what it left outside its folder stays there (%s).", index.name, _said(error))


def _facts(
    index: Index, config: Mapping[str, Any], recall: Mapping[int, float], probe: Probe, seconds: float
) -> dict[str, Any]:
    described = index.describe()
    first = min(recall)
    return {
        "name": index.name,
        "kind": index.kind,
        "count": index.count,
        "dim": index.dim,
        "recall_at_10": recall[first],
        "recall_at": {str(k): value for k, value in recall.items()},
        "recall_measured_on": {"source": probe.source, "queries": len(probe.query_QD), "depth": first},
        "build_seconds": round(seconds, 3),
        "bytes_elsewhere": described["bytes"],
        "settings": described["settings"],
        "notes": [*described["notes"], *_cut_note(index)],
        "config": masked({key: _without_secret(value) for key, value in config.items()}),
    }


def _add_pace(facts: dict[str, Any], index: Index, vectors: Vectors, probe: Probe) -> None:
    """Adds what a query takes, and without an index, for one that is there to be quicker; says where it is not."""
    if not index.for_speed:
        return
    spent, whole = one_query_ms(index, probe.query_QD), exact_ms(vectors, probe.query_QD)
    facts |= {"query_ms": round(spent, 3), "exact_ms": round(whole, 3)}
    if spent > SLOWER * whole:
        note = (
            f"slower than comparing everything: {spent:.2f} ms a query against {whole:.2f}; index=exact misses nothing"
        )
        facts["notes"].append(note)
        log.warning("index.%s: %s", index.name, note)


def _cut_note(index: Index) -> list[str]:
    return (
        [] if index.dims is None else [f"holds the first {index.dims} numbers of every vector; recall is of the whole"]
    )


def _without_secret(value: Any) -> Any:
    return without_credentials(value) if isinstance(value, str) and "://" in value else value


def open_index(folder: Path, identity: Mapping[str, Any]) -> tuple[Index, dict[str, Any]]:
    """Opens a finished index for searching, after checking that it belongs to this model and these documents.

    Returns:
        The index and its manifest.

    Raises:
        UserError: when it does not belong, is damaged, or its server or device is missing.
    """
    facts = manifest.read(folder)
    manifest.verify(folder, facts, identity)
    admit(facts["config"], source=folder / manifest.FILE, place=f"index.{facts['name']}")
    index = make_indexes({facts["name"]: facts["config"]})[facts["name"]]
    index.load(folder)
    if index.count != facts["count"] or index.dim != facts["dim"]:
        raise UserError(
            f"The index in {folder} holds {index.count} vectors, its manifest says {facts['count']}. Build it again."
        )
    return index, facts
