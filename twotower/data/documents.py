"""The text side of every index: documents in one SQLite file, found by row or by id.

Table `documents(row INTEGER PRIMARY KEY, doc_id TEXT UNIQUE, title, text, metadata JSON)`, in the collection's order;
table `meta(key, value)` holds the schema number, the count, the hash that a manifest is checked against, and what the
texts are (`indexed_as`) where people search others than training and evaluation read.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

from twotower.core.errors import UserError
from twotower.core.files import atomic_path
from twotower.data.collection import Collection, joined

SCHEMA = 1
MAPPED_BYTES = 1 << 40
"""Most of the file that is read through a memory map; SQLite itself cuts this to its own limit (2 GiB)."""
TABLES = """
CREATE TABLE documents (
    row INTEGER PRIMARY KEY,
    doc_id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
ALL = "SELECT row, doc_id, title, text, metadata FROM documents ORDER BY row"
BY_ROW = """
WITH wanted(wish) AS ({})
SELECT row, doc_id, title, text, metadata FROM wanted CROSS JOIN documents ON row = wish
"""
"""Looks the rows up one after the other as they come; `row IN (...)` would first sort them into a table of its own."""
COLUMN_TYPES = [int, str, str, str, str]
FEW = 256
"""Rows up to which each is a parameter of its own: quicker than a JSON list, and few statements to remember."""
BY_ID = "SELECT row, doc_id, title, text, metadata FROM documents WHERE doc_id IN (SELECT value FROM json_each(?))"


class Document(NamedTuple):
    """One stored document: its row in the collection, id, title, text and further fields (`metadata`)."""

    row: int
    doc_id: str
    title: str
    text: str
    metadata_json: str

    @property
    def metadata(self) -> dict[str, Any]:
        """Further fields of the document; none where they can't be read."""
        try:
            value = json.loads(self.metadata_json)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class DocumentStore:
    """A document store opened for reading; usable from several threads, as a context manager too.

    Args:
        path: the file that `write` made.

    Raises:
        UserError: when the file is missing or is not a document store of ours.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"There is no document store at {self.path}.")
        try:
            # The file is never written again, only replaced: nothing to lock, and its pages can be mapped.
            uri = f"{self.path.resolve().as_uri()}?mode=ro&immutable=1"
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
            self._meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        except sqlite3.Error as error:
            raise UserError(f"{self.path} is not a document store, or is damaged ({error}).") from error
        except UnicodeError as error:
            raise UserError(f"{self.path} is not a document store, or is damaged ({error}).") from error
        if self._meta.get("schema") != str(SCHEMA):
            raise UserError(f"{self.path} has schema {self._meta.get('schema')}; this version reads schema {SCHEMA}.")

    @staticmethod
    def write(path: str | Path, collection: Collection) -> DocumentStore:
        """Writes a collection's documents atomically and opens the result.

        Raises:
            UserError: when the disk is full or the folder cannot be written; an earlier store then stays as it was.
        """
        with atomic_path(path) as temporary:
            try:
                _fill(temporary, collection)
            except sqlite3.OperationalError as error:
                raise UserError(f"Cannot write {path}: {error}. Free space or choose another folder.") from error
        return DocumentStore(path)

    @cached_property
    def count(self) -> int:
        """Number of documents."""
        try:
            return int(self._meta["count"])
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{self.path} does not say how many documents it holds; write it again.") from error

    @property
    def hash(self) -> str:
        """Hex sha256 of ids, titles and texts in order; equals `documents_hash` of the collection it was made from."""
        try:
            return str(self._meta["hash"])
        except KeyError as error:
            raise UserError(f"{self.path} does not say which documents it holds; write it again.") from error

    @property
    def indexed_as(self) -> str:
        """What the texts are, where training and evaluation read others (`Collection.indexed_as`); else ""."""
        return self._meta.get("indexed_as", "")  # type: ignore[no-any-return]

    @property
    def indexed_leads(self) -> bool:
        """Whether the index holds each text's summary as a question too (`Collection.indexed_leads`)."""
        return self._meta.get("indexed_leads") == "1"

    def fetch(self, rows: Sequence[int]) -> list[Document]:
        """Returns the documents of rows, in the order asked for (repeats allowed), by one query.

        Raises:
            UserError: for a row that the store does not have.
        """
        wanted = list(map(int, rows))
        if not wanted:
            return []
        parameters = wanted if len(wanted) <= FEW else (json.dumps(wanted),)
        documents = self._documents(self._execute(_by_row(min(len(wanted), FEW + 1)), parameters))
        if [document.row for document in documents] == wanted:  # SQLite promises no order, though it keeps this one
            return documents
        by_row = {document.row: document for document in documents}
        return _in_order(wanted, by_row, f"{self.path} has no row", f"rows run from 0 to {self.count - 1}")

    def texts(self, rows: Sequence[int]) -> list[str]:
        """Returns what people search of some rows, as `Collection.searched_texts` does: title, blank, text."""
        documents = self.fetch(rows)
        return joined([item.title for item in documents], [item.text for item in documents])

    def titles(self, rows: Sequence[int]) -> list[str]:
        """Returns the titles of some rows, "" where there is none."""
        return [item.title for item in self.fetch(rows)]

    def fetch_ids(self, doc_ids: Sequence[str]) -> list[Document]:
        """Returns the documents with these ids, in the order asked for, by one query.

        Raises:
            UserError: for an id that the store does not have.
        """
        rows = self._execute(BY_ID, (json.dumps(list(doc_ids)),))
        by_id = {document.doc_id: document for document in self._documents(rows)}
        return _in_order(list(doc_ids), by_id, f"{self.path} has no document", "ids are those of the collection")

    def ids(self) -> list[str]:
        """Returns every document id in row order."""
        ids = [row[0] for row in self._stream("SELECT doc_id FROM documents ORDER BY row")]
        if len(ids) != self.count or any(type(item) is not str for item in ids):
            raise UserError(f"{self.path} holds {len(ids)} documents instead of {self.count}; write it again.")
        return ids

    def __iter__(self) -> Iterator[Document]:
        return (self._documents([row])[0] for row in self._stream(ALL))

    def __len__(self) -> int:
        return self.count

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def __enter__(self) -> DocumentStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _documents(self, rows: list[tuple[Any, ...]]) -> list[Document]:
        """Makes documents of rows, whose columns SQLite lets hold anything."""
        for row in rows:
            if list(map(type, row)) != COLUMN_TYPES:
                raise UserError(
                    f"{self.path} is damaged: row {row[0]!r} holds something that is no text; write it again."
                )
        return list(map(Document._make, rows))

    def _execute(self, query: str, parameters: Sequence[str | int]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, parameters).fetchall()
        except (sqlite3.Error, UnicodeError, OverflowError) as error:
            raise self._unreadable(error) from error

    def _stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(query)
        except (sqlite3.Error, UnicodeError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> UserError:
        reason = repr(str(error)[:100])[1:-1]  # SQLite quotes what it could not decode
        return UserError(f"{self.path} cannot be read ({reason}); write it again.")


def documents_hash(collection: Collection) -> str:
    """Returns the hex sha256 of a collection's ids, titles and searched texts in order; another order, another hash."""
    digest = hashlib.sha256()
    for row in zip(collection.document_ids, collection.titles, _texts(collection), strict=True):
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def _texts(collection: Collection) -> list[str]:
    return collection.texts if collection.indexed_texts is None else collection.indexed_texts


def _fill(path: Path, collection: Collection) -> None:
    metadata = collection.metadata or [{}] * len(collection.document_ids)
    rows = zip(collection.document_ids, collection.titles, _texts(collection), metadata, strict=True)
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")  # the file is thrown away if anything fails
        connection.executescript(TABLES)
        values = (
            (number, doc_id, title, text, json.dumps(extra, ensure_ascii=False, default=str))
            for number, (doc_id, title, text, extra) in enumerate(rows)
        )
        connection.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", values)
        meta = {"schema": SCHEMA, "count": len(collection.document_ids), "hash": documents_hash(collection)}
        meta |= {"indexed_as": collection.indexed_as} if collection.indexed_as else {}
        meta |= {"indexed_leads": "1"} if collection.indexed_leads else {}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in meta.items()])
        connection.commit()
    finally:
        connection.close()


@cache
def _by_row(count: int) -> str:
    """Returns the statement for so many rows (FEW + 1: any number above), remembered instead of written anew."""
    wishes = f"VALUES {','.join(['(?)'] * count)}" if count <= FEW else "SELECT value FROM json_each(?)"
    return BY_ROW.format(wishes)


def _in_order(wanted: list[Any], documents: dict[Any, Document], missing: str, hint: str) -> list[Document]:
    try:
        return [documents[item] for item in wanted]
    except KeyError as error:
        raise UserError(f"{missing} {error.args[0]!r}; {hint}.") from None
