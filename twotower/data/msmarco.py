"""MS MARCO question answering (v1.1, v2.1) as Hugging Face `datasets` gives it: each query with about ten passages.

MS MARCO's own files are read too: v1.1 has a row a line, v2.1 one object of columns ({"query": {"0": ...}, ...}).

Schema of a row: query_id, query, query_type, answers, passages {passage_text, is_selected, url} (lists of one length).
A passage's id is `<query_id>_<n>`, n its place in the list; `is_selected` is its grade; a query's passages are its
candidates. Bajaj et al. 2016, "MS MARCO: A Human Generated MAchine Reading COmprehension Dataset". Research use only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from twotower.core.cache import cached_folder, content_key
from twotower.core.errors import UserError
from twotower.core.extras import missing
from twotower.core.packed import bare_name
from twotower.data import jsonl
from twotower.data import serialize as stored
from twotower.data.collection import Candidates, Collection, Judgements
from twotower.data.lines import is_one_line, is_utf8, read_objects, shown
from twotower.data.msmarco_ranking import is_ranking, load_ranking, ranking_files

log = logging.getLogger(__name__)

HUB_NAME = "microsoft/ms_marco"
VERSIONS = ("v1.1", "v2.1")
SPLITS = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}
"""What a file name starts with, or the hub's name of a split, and the name that we give it."""
ENDINGS = (".parquet", ".json", ".jsonl")
UNJUDGED = "eval_v"
"""What the names of MS MARCO's own files without judgements start with."""
COLUMNS = ["query_id", "query", "passages"]
Row = tuple[str, dict[str, Any]]
"""Where a row stands, in words for a message, and the row."""


def load(
    path: str | Path | None = None, version: str = "v1.1", limit: int | None = None, missing: str = "error"
) -> Collection:
    """Reads local files when a path is given, otherwise the hub through the `datasets` package.

    Args:
        path: a .parquet / .json / .jsonl file, or a folder of them; names start with train, validation, dev or test.
            MS MARCO's own eval files have no judgements and are left out. A folder with collection.tsv holds the
            ranking files (see `msmarco_ranking`); a file named triples... holds triples of texts.
        version: which version to take from the hub.
        limit: at most this many queries of each split, the first ones; None for all.
        missing: of the ranking files: `skip` leaves judgements of unknown ids out, `error` refuses them.

    Raises:
        UserError: for a missing or malformed file, or when the hub cannot be reached.
    """
    if version not in VERSIONS:
        raise UserError(f"data.source.version={version} is not known; choose one of: {', '.join(VERSIONS)}.")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UserError(f"data.source.limit={limit} must be a whole number of at least 1, or null for all.")
    if path is None:
        return collect(f"msmarco-{version}", _hub_rows(version), limit)
    place = Path(path).expanduser()
    if is_ranking(place):
        return _ranking(place, limit, missing)
    if place.name.startswith("triples") and place.is_file():
        return jsonl.load(place, name="msmarco", columns={"query": 0, "positive": 1, "negative": 2})
    files = local_files(place)
    state = [[split, str(file), file.stat().st_size, file.stat().st_mtime_ns] for split, file in files]

    def fill(folder: Path) -> None:
        rows = ((split, row) for split, file in files for row in _file_rows(file))
        stored.save(folder, collect("msmarco", rows, limit))

    return stored.load(cached_folder("msmarco", content_key("msmarco 1", state, limit), fill))


def _ranking(path: Path, limit: int | None, missing: str) -> Collection:
    files = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in ranking_files(path)]
    if missing == "skip":  # with a note that is not kept beside the collection
        return load_ranking(path, limit=limit, missing=missing)
    key = content_key("msmarco ranking 2", files, limit, missing)
    return stored.load(
        cached_folder("msmarco", key, lambda folder: stored.save(folder, load_ranking(path, limit=limit)))
    )


def local_files(path: Path) -> list[tuple[str, Path]]:
    """Returns (split, file) for a file, or for the files of a folder and its subfolders.

    Raises:
        UserError: when there is none with judgements, or a name does not say the split.
    """
    if not path.exists():
        raise UserError(f"data.path={path} does not exist.")
    sources = (
        [path] if path.is_file() else sorted(item for item in path.rglob("*") if bare_name(item.name).endswith(ENDINGS))
    )
    if not sources or not bare_name(sources[0].name).endswith(ENDINGS):
        raise UserError(f"data.path={path} holds no file that ends in {', '.join(ENDINGS)}.")
    files = []
    for file in sources:
        start = next((start for start in SPLITS if file.name.startswith(start)), None)
        if start is None and file.name.startswith(UNJUDGED):
            log.info("%s is left out: MS MARCO's eval files have no judgements.", file)
            continue
        if start is None:
            raise UserError(f"{file}: the file's name must start with its split: train, validation, dev or test.")
        files.append((SPLITS[start], file))
    if not files:
        raise UserError(f"data.path={path}: MS MARCO's eval files have no judgements; give its train and dev files.")
    return files


def _file_rows(file: Path) -> Iterator[Row]:
    if not bare_name(file.name).endswith(".parquet"):
        for place, value in read_objects(file):
            where = f"{place[0]}:{place[1]}"
            yield from _column_rows(where, value) if isinstance(value.get("query"), dict) else [(where, value)]
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        missing = [name for name in COLUMNS if name not in table.schema_arrow.names]
        if missing:
            raise UserError(f"{file} has no column '{missing[0]}'; there are: {', '.join(table.schema_arrow.names)}.")
        number = 0
        for batch in table.iter_batches(columns=COLUMNS):
            for value in batch.to_pylist():
                number += 1
                yield f"{file} row {number}", value
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file} cannot be read as parquet: {str(error).splitlines()[0]}") from error


def _column_rows(where: str, columns: dict[str, Any]) -> Iterator[Row]:
    """Yields the rows of a file that is one object of columns ({column: {row: value}}), as MS MARCO gives v2.1."""
    held: dict[str, dict[str, Any]] = {}
    for name in COLUMNS:
        column = columns.get(name)
        if not isinstance(column, dict):
            raise UserError(f"{where}: needs '{name}', a column as 'query' is one; found {shown(column)}.")
        held[name] = column
    for row in held["query"]:
        yield f"{where} row {row}", {name: column.get(row) for name, column in held.items()}


def _hub_rows(version: str) -> Iterator[tuple[str, Row]]:
    try:
        import datasets
    except ImportError as error:
        raise missing("data=msmarco without data.path", "datasets") from error
    try:
        whole = datasets.load_dataset(HUB_NAME, version)
    except Exception as error:  # the package raises many kinds for one cause: it can't be had from here
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{HUB_NAME} {version} cannot be loaded ({reason}); give local files by data.path.") from error
    for name, rows in whole.items():
        for number, value in enumerate(rows, start=1):
            yield SPLITS.get(name, name), (f"{HUB_NAME} {name} row {number}", value)


def collect(name: str, rows: Iterable[tuple[str, Row]], limit: int | None = None) -> Collection:
    """Makes a collection of (split, row) pairs.

    Raises:
        UserError: for a malformed row or a query id that is given twice, naming the row.
    """
    document_ids: list[str] = []
    texts: list[str] = []
    metadata: list[dict[str, Any]] = []
    queries: dict[str, str] = {}
    listed: list[tuple[int, int]] = []
    judged: dict[str, list[tuple[int, int, float]]] = {}
    counts: dict[str, int] = {}
    for split, (where, value) in rows:
        if limit is not None and counts.get(split, 0) >= limit:
            continue
        counts[split] = counts.get(split, 0) + 1
        query_id, query, passages = read_row(where, value)
        if query_id in queries:
            raise UserError(f"{where}: query_id {query_id} was already given.")
        queries[query_id] = query
        graded = judged.setdefault(split, [])
        for place, (text, selected, url) in enumerate(passages):
            pair = (len(queries) - 1, len(document_ids))
            document_ids.append(f"{query_id}_{place}")
            texts.append(text)
            metadata.append({"url": url} if url else {})
            listed.append(pair)
            graded.append((*pair, selected))
    if not document_ids:
        raise UserError(f"{name}: no passage in any row.")
    return Collection(
        name=name,
        document_ids=document_ids,
        titles=[""] * len(texts),
        texts=texts,
        metadata=metadata if any(metadata) else None,
        query_ids=list(queries),
        query_texts=list(queries.values()),
        judgements={split: Judgements.of(*zip(*graded, strict=True)) for split, graded in judged.items() if graded},
        candidates=Candidates.of(*zip(*listed, strict=True)),
    )


def read_row(where: str, value: dict[str, Any]) -> tuple[str, str, list[tuple[str, float, str]]]:
    """Returns query id, query, and (text, is_selected, url) of each passage.

    Raises:
        UserError: when the row does not follow the schema.
    """
    query_id, query, passages = (value.get(key) for key in COLUMNS)
    if isinstance(query_id, bool) or not isinstance(query_id, (int, str)) or query_id == "":
        raise UserError(f"{where}: needs 'query_id', a number or text; found {shown(query_id)}.")
    if not is_one_line(str(query_id)) or not is_utf8(str(query_id)):
        raise UserError(f"{where}: 'query_id' holds a control character or the like: {shown(query_id)}.")
    if not isinstance(query, str) or not is_utf8(query):
        raise UserError(f"{where}: needs 'query', a text; found {shown(query)}.")
    if isinstance(passages, list):  # a list of passages says the same as passages of lists
        keys = ("passage_text", "is_selected", "url")
        rows = [item if isinstance(item, dict) else {} for item in passages]
        passages = {key: [row.get(key) for row in rows] for key in keys}
    if not isinstance(passages, dict):
        raise UserError(f"{where}: needs 'passages' with passage_text and is_selected; found {shown(passages)}.")
    texts, selected = passages.get("passage_text"), passages.get("is_selected")
    if not isinstance(texts, list) or not isinstance(selected, list) or len(texts) != len(selected):
        raise UserError(f"{where}: passages.passage_text and passages.is_selected must be lists of one length.")
    urls = passages.get("url")
    urls = urls if isinstance(urls, list) and len(urls) == len(texts) else [None] * len(texts)
    for text, label in zip(texts, selected, strict=True):
        if not isinstance(text, str) or not is_utf8(text) or label not in (-1, 0, 1):
            raise UserError(
                f"{where}: needs a text and 0 or 1 for each passage; found {shown(text)} and {shown(label)}."
            )
    rows_out = zip(texts, (float(label) for label in selected), (str(url or "") for url in urls), strict=True)
    return str(query_id), query, list(rows_out)
