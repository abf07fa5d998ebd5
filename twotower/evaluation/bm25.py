"""The lexical yardstick: BM25 as bm25s computes it, over title and text, with its default tokenizer.

bm25s holds the contribution of every (word, document) pair in a sparse matrix; the scores of many queries at once are
one sparse product with it. Rankings are cached by collection, queries and protocol, so a sweep computes them once.

Shapes: Q queries, N documents, V words, K ranks, P queries of a pool.

Source: bm25s (https://github.com/xhluca/bm25s), its "lucene" variant with k1 1.5, b .75.
"""

from __future__ import annotations

import logging
from itertools import chain
from pathlib import Path

import bm25s
import numpy as np
import torch
from scipy import sparse

from twotower.core.cache import cached_folder, content_key
from twotower.core.reading import read_array
from twotower.data.collection import Collection
from twotower.evaluation.keys import pack, unpack
from twotower.evaluation.own_document import without_own
from twotower.evaluation.pools import Pool
from twotower.evaluation.ranking import Ranking

_VERSION = 1
_DEFAULT_MEMORY = 2**31


def bm25_rankings(
    collection: Collection, query_rows: np.ndarray, pools: list[Pool], *, k: int, max_memory: int = _DEFAULT_MEMORY
) -> list[Ranking]:
    """Returns BM25's ranking of each pool, from the cache where it has been computed before.

    In the full pool a document without any of the query's words is not retrieved (its rank stays empty); candidates
    are all ranked. Ties are broken by document id.

    Args:
        collection: the collection.
        query_rows: rows of the queries under evaluation [Q].
        pools: what to rank, from `pools.build_pools` for the same queries.
        k: ranks to keep.
        max_memory: bytes for a block of scores.
    """
    scorer: list[Scorer] = []  # built at most once, and not at all when every ranking is cached

    def ranking(pool: Pool) -> Ranking:
        def build(folder: Path) -> None:
            if not scorer:
                scorer.append(Scorer(collection.document_texts()))
            texts = [collection.query_texts[row] for row in query_rows[pool.positions]]
            if pool.own is None or pool.offsets is not None:
                made = _rank(scorer[0], texts, pool, k, max_memory)
            else:
                made = without_own(_rank(scorer[0], texts, pool, k + 1, max_memory), pool.own, k)
            np.save(folder / "rows.npy", made.rows.astype(np.int32))
            np.save(folder / "scores.npy", made.scores)

        rows = np.asarray(query_rows, dtype=np.int64)
        own = [] if pool.left_out == 0 else ["own left out", pool.sizes]
        key = content_key("bm25", _VERSION, bm25s.__version__, collection.fingerprint, rows, pool.protocol, k, *own)
        folder = cached_folder("bm25", key, build)
        shape = (len(query_rows[pool.positions]), None)
        rows_QK = read_array(folder / "rows.npy", dtype="int32", shape=shape).astype(np.int64)
        scores_QK = read_array(folder / "scores.npy", dtype="float32", shape=rows_QK.shape)
        return Ranking(rows=rows_QK, scores=scores_QK, pool_size=pool.sizes)

    return [ranking(pool) for pool in pools]


class Scorer:
    """BM25 scores of queries against a fixed list of documents.

    Args:
        document_texts: N texts.
    """

    def __init__(self, document_texts: list[str]) -> None:
        logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG on import
        tokenized = bm25s.tokenize(document_texts, stopwords="en", show_progress=False)
        model = bm25s.BM25()
        if tokenized.vocab:
            model.index(tokenized, show_progress=False)
            parts = (model.scores["data"], model.scores["indices"], model.scores["indptr"])
            words = len(parts[2]) - 1
        else:
            parts, words = (np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(1, np.int32)), 0
        # bm25s keeps word by word which documents it scores: rows of a [V, N] matrix
        self.matrix_VN = sparse.csr_matrix(parts, shape=(words, len(document_texts)))
        self.vocabulary: dict[str, int] = {word: at for word, at in tokenized.vocab.items() if at < words}

    def count_words(self, query_texts: list[str]) -> sparse.csr_matrix:
        """Returns how often each query holds each known word, sparse float32 [Q, V]."""
        tokenized = bm25s.tokenize(query_texts, stopwords="en", show_progress=False)
        known = np.full(len(tokenized.vocab) + 1, -1)
        for word, at in tokenized.vocab.items():
            known[at] = self.vocabulary.get(word, -1)
        lengths = np.fromiter(map(len, tokenized.ids), dtype=np.int64, count=len(tokenized.ids))
        words = known[np.fromiter(chain.from_iterable(tokenized.ids), dtype=np.int64, count=int(lengths.sum()))]
        owner = np.repeat(np.arange(len(lengths)), lengths)
        ones = np.ones(int((words >= 0).sum()), dtype=np.float32)
        shape = (len(query_texts), self.matrix_VN.shape[0])
        return sparse.csr_matrix((ones, (owner[words >= 0], words[words >= 0])), shape=shape)


def _rank(scorer: Scorer, texts: list[str], pool: Pool, k: int, max_memory: int) -> Ranking:
    words_QV = scorer.count_words(texts)
    count, depth = len(texts), min(k, pool.num_documents)
    step = max(1, min(512, max_memory // (40 * max(pool.num_documents, 1))))
    place = torch.from_numpy(pool.order)
    row_at = np.append(np.argsort(pool.order), -1)  # the place -1 of an empty rank reads the last entry
    rows = np.full((count, depth), -1, dtype=np.int64)
    best = np.full((count, depth), -np.inf, dtype=np.float32)
    pool_scores = np.zeros(0 if pool.candidates is None else len(pool.candidates), dtype=np.float32)
    for start in range(0, count, step):
        scores_BN = (words_QV[start : start + step] @ scorer.matrix_VN).toarray()
        if pool.offsets is not None and pool.candidates is not None:
            ends = pool.offsets[start : start + len(scores_BN) + 1]
            owner = np.repeat(np.arange(len(scores_BN)), np.diff(ends))
            pool_scores[ends[0] : ends[-1]] = scores_BN[owner, pool.candidates[ends[0] : ends[-1]]]
            continue
        scores = torch.from_numpy(scores_BN)
        keys = pack(scores.masked_fill_(scores <= 0, -torch.inf), place.expand(len(scores), -1))
        values, places = unpack(keys.topk(depth, dim=1).values)
        best[start : start + step], rows[start : start + step] = values.numpy(), row_at[places.numpy()]
    if pool.offsets is not None:
        return pool.sort(pool_scores, k=k)
    return Ranking(rows=rows, scores=best, pool_size=pool.sizes)
