"""Data sets of the `datasets` library: by their name on the hub, from a `save_to_disk` folder, or from files at hand.

Rows are pairs, triplets and the like, in the layouts of `pair_rows`. A data set with the parts `corpus`, `queries` and
judgements (`default` or `qrels`), as MTEB's and BEIR's are, is read as documents, queries and judgements instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Any

from twotower.core.errors import UserError, nearest
from twotower.core.extras import missing as missing_package
from twotower.core.validators import check_count
from twotower.data import jsonl
from twotower.data.collection import Collection, Judgements
from twotower.data.columns import Columns, TableColumns, columns_of, renamed
from twotower.data.lines import Row, complain, take_id, take_text
from twotower.data.qrels import Ids, judge, named_score
from twotower.data.rows import is_saved

Source = Mapping[str, Any]
Table = Iterator[Row]


def load(
    path: str | Path | None,
    config: str | None = None,
    revision: str | None = None,
    splits: dict[str, str | float] | None = None,
    split_seed: int = 0,
    name: str | None = None,
    columns: Columns | None = None,
    ignore: Sequence[str] = (),
    threshold: float | None = None,
    streaming: bool = False,
    limit: int | None = None,
    missing: str = "error",
) -> Collection:
    """Reads a data set.

    Args:
        path: a name on the hub (`sentence-transformers/natural-questions`), a folder that `save_to_disk` wrote, or a
            folder of files that `datasets.load_dataset` reads.
        config: the data set's subset, where it has several.
        revision: a commit, branch or tag of the data set; null takes the newest.
        splits: the data set's split for each of ours ({train: train, dev: validation}); or shares to divide a data set
            of one split by ({train: .9, dev: .1}); null takes its own splits, divided 90 to 10 where there is one.
        split_seed: another number gives another division.
        name: what to call the collection (the last part of `path` otherwise).
        columns: our names of columns that are called otherwise: {query: utterance, positive: reply}.
        ignore: columns to pass over.
        threshold: labels and scores from here on are relevant; null: they are grades.
        streaming: rows are read as they arrive, and nothing is kept on disk; with `limit`, no more than needed.
            A folder is always read so.
        limit: at most so many rows of each split; null reads all.
        missing: `error` refuses judgements of documents and queries that are not there, `skip` leaves them out.

    Raises:
        UserError: when the data set can't be had, its columns say too little, or a setting has no effect on it.
    """
    if path is None:
        raise UserError("data=hf needs data.path=NAME, a data set's name on the hub or a folder.")
    if limit is not None:
        check_count("data.source.limit", limit)
    named, shares = _split_names(splits), _shares(splits)
    folder = Path(path).expanduser()
    label, source = name or folder.name, _source(folder, str(path), config, revision, streaming)
    parts = [] if is_saved(folder) else _configs(source)
    if {"corpus", "queries"} <= set(parts):
        _refuse_for_parts({"ignore": list(ignore), "threshold": threshold, "limit": limit})
        _refuse_shares(shares, splits, "judgements of its own")
        judged = config or next((item for item in ("default", "qrels") if item in parts), "default")
        return _retrieval(label, source, judged, named, missing, columns)
    tables = _saved(folder) if is_saved(folder) else _load(source, config)
    if len(tables) > 1:
        _refuse_shares(shares, splits, f"the splits {', '.join(tables)}")
    rows = (
        (split, place, value)
        for split, table in _chosen(tables, named)
        for place, value in _mapped(islice(table, limit), columns)
    )
    return jsonl.collect(
        label, rows, shares=shares, split_seed=split_seed, ignore=ignore, threshold=threshold, source=str(path)
    )


def _split_names(splits: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Returns theirs -> ours where `splits` names the data set's splits."""
    names = {ours: theirs for ours, theirs in (splits or {}).items() if isinstance(theirs, str)}
    if names and len(names) < len(splits or {}):
        raise UserError(f"data.source.splits={splits}: give a name for each split, or a share for each.")
    return {theirs: ours for ours, theirs in names.items()} or None


def _shares(splits: Mapping[str, Any] | None) -> dict[str, float] | None:
    return {ours: float(part) for ours, part in (splits or {}).items() if not isinstance(part, str)} or None


def _source(folder: Path, name: str, config: str | None, revision: str | None, streaming: bool) -> Source:
    """Returns what `datasets` is asked for: a name on the hub, or a folder, as it stands now."""
    if not folder.is_dir():
        return {"path": name, "revision": revision, "streaming": streaming}
    for key, value in (("revision", revision), ("config", config if is_saved(folder) else None)):
        if value is not None:
            raise UserError(f"data.source.{key}={value} has no effect on {folder}, a folder on this machine.")
    # `datasets` keeps what it read of a folder with a card, and gives it again when the files have changed
    return {"path": str(folder), "revision": None, "streaming": True}


def _refuse_for_parts(settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if value not in (None, []):
            raise UserError(f"data.source.{key}={value} is for rows of pairs; this data set has three parts.")


def _refuse_shares(shares: Mapping[str, float] | None, splits: Mapping[str, Any] | None, has: str) -> None:
    if shares:
        raise UserError(
            f"data.source.splits={splits} divides a data set of one split, and this one has {has}: name one of its "
            "splits for each of ours, {train: train}, or leave it null."
        )


def _package() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise missing_package("data=hf", "datasets") from error
    return datasets


def _refused(path: str, error: Exception) -> UserError:
    reason = shorten((str(error).splitlines() or [type(error).__name__])[0], width=200, placeholder=" ...")
    return UserError(f"data.path={path}: `datasets` cannot read it ({reason}).")


def _configs(source: Source) -> list[str]:
    try:
        return list(_package().get_dataset_config_names(source["path"], revision=source["revision"]))
    except UserError:
        raise
    except Exception as error:  # the package raises many kinds for one cause: it can't be had from here
        raise _refused(source["path"], error) from error


def _load(source: Source, config: str | None) -> dict[str, Table]:
    try:
        whole = _package().load_dataset(
            source["path"], config, revision=source["revision"], streaming=source["streaming"]
        )
    except UserError:
        raise
    except Exception as error:  # as above
        raise _refused(source["path"], error) from error
    return {str(split): _numbered(source["path"], str(split), table) for split, table in whole.items()}


def _saved(folder: Path) -> dict[str, Table]:
    package = _package()
    try:
        whole = package.load_from_disk(str(folder))
    except Exception as error:  # as above
        raise _refused(str(folder), error) from error
    tables = whole if isinstance(whole, Mapping) else {"": whole}
    return {str(split): _numbered(str(folder), str(split), table) for split, table in tables.items()}


def _numbered(path: str, split: str, table: Any) -> Table:
    try:
        for number, row in enumerate(table, start=1):
            yield (Path(path) / split, number), {key: value for key, value in row.items() if value is not None}
    except (OSError, ValueError, RuntimeError) as error:  # a stream breaks off where a line can't be read
        if isinstance(error, UserError):
            raise
        raise _refused(path, error) from error


def _chosen(tables: Mapping[str, Table], named: Mapping[str, str] | None) -> Iterator[tuple[str | None, Table]]:
    """Yields tables with our names of their splits; None where rows are to be divided."""
    for theirs in named or ():
        if theirs not in tables:
            raise UserError(
                f"data.source.splits: there is no split '{theirs}'; there are: {', '.join(tables)}."
                f"{nearest(theirs, list(tables))}"
            )
    for theirs, table in tables.items():
        if named is None:
            yield (jsonl.SPLITS.get(theirs, theirs) if len(tables) > 1 else None), table
        elif theirs in named:
            yield named[theirs], table


def _mapped(rows: Table, columns: Columns | None) -> Table:
    return renamed(rows, columns) if columns else rows


def _retrieval(
    name: str,
    source: Source,
    judged: str,
    named: Mapping[str, str] | None,
    missing: str,
    columns: TableColumns | None,
) -> Collection:
    """Reads a data set of three parts."""
    theirs = {table: columns_of(columns, table) for table in ("corpus", "queries", "qrels")}
    documents = _texts(_load(source, "corpus"), theirs["corpus"])
    queries = _texts(_load(source, "queries"), theirs["queries"])
    ids = Ids(
        queries={item: row for row, item in enumerate(queries)},
        documents={item: row for row, item in enumerate(documents)},
        missing=missing,
    )
    judgements: dict[str, Judgements] = {}
    for split, table in _chosen(_load(source, judged), named):
        scores = (named_score(place, row) for place, row in _mapped(table, theirs["qrels"]))
        judgements[split or "test"] = judge(scores, str(split), ids)
    return Collection(
        name=name,
        document_ids=list(documents),
        titles=[title for title, _ in documents.values()],
        texts=[text for _, text in documents.values()],
        query_ids=list(queries),
        query_texts=[text for _, text in queries.values()],
        judgements=judgements,
        notes=ids.notes(),
    )


def _texts(tables: Mapping[str, Table], columns: Columns | None) -> dict[str, tuple[str, str]]:
    """Returns title ("" where there is none) and text by id; an id may be in several splits, with one content."""
    held: dict[str, tuple[str, str]] = {}
    for table in tables.values():
        for place, row in _mapped(table, columns):
            item = take_id(row, _id_key(row), place)
            content = take_text(row, "title", place, default=""), take_text(row, "text", place)
            if held.setdefault(item, content) != content:
                raise complain(place, f"id '{item}' was already given, with another text.")
    return held


def _id_key(row: Mapping[str, Any]) -> str:
    return "_id" if "_id" in row or "id" not in row else "id"
