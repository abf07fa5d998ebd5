"""Searching by words inside Redis, and by words and vector together: the server's own BM25 over a text field.

Where the server has FT.HYBRID (Redis 8.4 and later) it ranks by both in one call; elsewhere it answers two queries,
whose ranks are fused here in the same way: reciprocal rank fusion, without weights, since FT.HYBRID has none. What a
run measures as `hybrid` is its own BM25 and fusion; this is for those that want the server alone.

Legend: K ranks, D dimension.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import redis

from twotower.core.errors import UserError
from twotower.index.redis.commands import search_command
from twotower.index.redis.connection import pairs
from twotower.index.redis.session import Session
from twotower.lexical.bm25 import STOP_WORDS
from twotower.lexical.fusion import RRF_CONSTANT
from twotower.lexical.words import falls_apart, words_of

FIELD, TITLE, SCORER = "text", "title", "BM25STD"
TITLE_END = "\x1f"
"""What would part two titles of one document: a character that titles don't hold, unlike the comma."""
LANGUAGES = (
    *("arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "estonian", "finnish", "french"),
    *("german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian"),
    *("portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish"),
)
"""Languages whose words Redis reduces to their stems."""
LEAST_CANDIDATES, CANDIDATES = 100, 4
"""Candidates that each side gives: at least so many, and so many for each hit asked for."""
NO_COMMAND = ("unknown command", "unknown subcommand")
Ranked = tuple[np.ndarray, np.ndarray]


def options(language: str | None) -> list[Any]:
    """Returns what FT.CREATE says of language and stop words, which are those that our BM25 leaves out."""
    spoken = [] if language is None else ["LANGUAGE", language]
    return [*spoken, "STOPWORDS", len(STOP_WORDS), *sorted(STOP_WORDS)]


def schema(language: str | None) -> list[Any]:
    """Returns the text field of FT.CREATE and that of titles; without a language words stay as they are.

    Titles are filtered by, as a whole: the text that is ranked begins with them, and their words would count twice.
    """
    return [FIELD, "TEXT", *(["NOSTEM"] if language is None else []), TITLE, "TAG", "SEPARATOR", TITLE_END]


def stored(text: str) -> str:
    """Returns a text as the field holds it: as it is, or its words parted by blanks where Redis would not part them."""
    return " ".join(words_of(text)) if falls_apart([text]) else text


def query_of(text: str) -> str | None:
    """Returns the query for documents with any word of a text; None for one without a word to look for."""
    words = dict.fromkeys(word for word in words_of(text) if word not in STOP_WORDS)
    escaped = [re.sub(r"([^\w\u0080-\U0010ffff])", r"\\\1", word) for word in words]
    return f"@{FIELD}:({'|'.join(escaped)})" if escaped else None


def text_command(version: str, query: str, k: int) -> list[Any]:
    """Returns FT.SEARCH for the k best documents by the server's BM25.

    Args:
        version: the build's name.
        query: from `query_of`.
        k: how many.
    """
    return [
        *("FT.SEARCH", version, query, "SCORER", SCORER, "WITHSCORES"),
        *("RETURN", 1, "row", "LIMIT", 0, k, "DIALECT", 2),
    ]


def hybrid_command(version: str, query: str, query_D: np.ndarray, k: int, depth: int, ef: int | None) -> list[Any]:
    """Returns FT.HYBRID for the k best documents by ranks of both sides.

    Args:
        version: the build's name.
        query: from `query_of`.
        query_D: a float32 query.
        k: how many.
        depth: ranks of each side that count.
        ef: HNSW: neighbours to consider; None for FLAT.
    """
    nearest = ["K", depth, *(["EF_RUNTIME", ef] if ef else [])]
    return [
        *("FT.HYBRID", version, "SEARCH", query, "SCORER", SCORER),
        *("VSIM", "@vector", "$query", "KNN", len(nearest), *nearest),
        *("COMBINE", "RRF", 4, "CONSTANT", RRF_CONSTANT, "WINDOW", depth),
        *("LOAD", 2, "@row", "@__score", "LIMIT", 0, k, "PARAMS", 2, "query", query_D.tobytes()),
    ]


def read_text(answer: list[Any]) -> Ranked:
    """Returns scores float32 [K] and rows int64 [K] of an answer to `text_command`, ties by row."""
    fields = [pairs(item) for item in answer[3::3] if item is not None]
    scores_K = np.array([float(score) for score in answer[2::3]], dtype=np.float32)
    if len(fields) < len(scores_K):
        raise UserError("Redis names documents that it cannot read: the index is being replaced. Ask again.")
    return _sorted(scores_K, np.array([int(item["row"]) for item in fields], dtype=np.int64))


def read_hybrid(answer: Any) -> Ranked:
    """Returns scores float32 [K] and rows int64 [K] of an answer to `hybrid_command`, ties by row."""
    hits = [pairs(item) for item in pairs(answer)["results"]]
    scores = [float(hit["__score"]) for hit in hits]
    return _sorted(np.array(scores, dtype=np.float32), np.array([int(hit["row"]) for hit in hits], dtype=np.int64))


def _sorted(scores_K: np.ndarray, rows_K: np.ndarray) -> Ranked:
    order_K = np.lexsort((rows_K, -scores_K))
    return scores_K[order_K], rows_K[order_K]


def fused(dense_K: np.ndarray, lexical_K: np.ndarray, k: int) -> Ranked:
    """Fuses the ranks of two lists of rows as FT.HYBRID does: the sum of 1 / (60 + rank).

    Args:
        dense_K: rows by vector, best first.
        lexical_K: rows by words, best first.
        k: how many to return.
    """
    rows_C, place_J = np.unique(np.concatenate([dense_K, lexical_K]), return_inverse=True)
    gains = [1 / (RRF_CONSTANT + 1 + np.arange(len(part))) for part in (dense_K, lexical_K)]
    scores_C = np.bincount(place_J, weights=np.concatenate(gains), minlength=len(rows_C)).astype(np.float32)
    scores_K, rows_K = _sorted(scores_C, rows_C.astype(np.int64))
    return scores_K[:k], rows_K[:k]


class TextSearch:
    """Asks one build of a Redis index by words.

    Args:
        session: the connection.
        version: the build's name.
        count: how many documents it holds.
    """

    def __init__(self, session: Session, version: str, count: int) -> None:
        self.session, self.version, self.count = session, version, count
        self.in_one_call: bool | None = None
        """Whether the server has FT.HYBRID; None until it was asked."""

    def lexical(self, text: str, k: int) -> Ranked:
        """Returns scores and rows of the k best documents with any word of a text, best first."""
        query = query_of(text)
        if query is None:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        with self.session.errors_named():
            return read_text(
                self.session.client.execute_command(*text_command(self.version, query, min(k, self.count)))
            )

    def hybrid(self, text: str, query_D: np.ndarray, k: int, effort: Callable[[int], int | None]) -> Ranked:
        """Returns fused scores and rows of the k best documents, best first.

        Args:
            text: the query.
            query_D: its unit vector, float32.
            k: how many.
            effort: HNSW neighbours to consider for so many hits; None for FLAT.
        """
        depth = min(self.count, max(LEAST_CANDIDATES, CANDIDATES * k))
        query, ef = query_of(text), effort(depth)
        if query is not None and self.in_one_call is not False:
            answer = self._one_call(hybrid_command(self.version, query, query_D, k, depth, ef))
            if answer is not None:
                return read_hybrid(answer)
        pipeline = self.session.client.pipeline(transaction=False)
        pipeline.execute_command(*search_command(self.version, query_D, depth, ef))
        if query is not None:
            pipeline.execute_command(*text_command(self.version, query, depth))
        with self.session.errors_named():
            nearest, *by_words = pipeline.execute()
        dense_K = np.array(
            [int(pairs(fields)["row"]) for fields in nearest[2::2] if fields is not None], dtype=np.int64
        )
        lexical_K = read_text(by_words[0])[1] if by_words else np.zeros(0, np.int64)
        return fused(dense_K, lexical_K, k)

    def _one_call(self, command: list[Any]) -> Any:
        """Returns the answer to FT.HYBRID, None from a server that does not have it."""
        with self.session.errors_named():
            try:
                answer = self.session.client.execute_command(*command)
            except redis.ResponseError as error:
                if not any(words in str(error).lower() for words in NO_COMMAND):
                    raise
                self.in_one_call = False
                return None
        self.in_one_call = True
        return answer
