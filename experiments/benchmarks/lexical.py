"""Indexing for BM25: what is kept of each word and document, ours against bm25s, from the same numbers.

    python experiments/benchmarks/lexical.py [--data msmarco-passage-mini] [--repeats 3]

Both start from the words of every document by number, and end with bm25s's sparse matrix, which is compared before the
clock starts. Cutting texts into words is no part of it: both sides would share that.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import bm25s
import common
import numpy as np
from training import load

from twotower.lexical.stored import Stored
from twotower.lexical.word_ids import WordIds

K1, B = 0.9, 0.4


def ours(ids_T: np.ndarray, offsets: np.ndarray, words: dict[str, int]) -> Callable[[], dict[str, np.ndarray]]:
    """All documents together."""

    def run() -> dict[str, np.ndarray]:
        kept = Stored.of(ids_T.copy(), offsets, words, k1=K1, b=B)
        return {"data": kept.data, "indices": kept.rows, "indptr": kept.starts}

    return run


def by_bm25s(ids_T: np.ndarray, offsets: np.ndarray, words: dict[str, int]) -> Callable[[], dict[str, Any]]:
    """Document by document, as the library does; the lists that it takes are made beforehand."""
    lists = [part.tolist() for part in np.split(ids_T, offsets[1:-1])]

    def run() -> dict[str, Any]:
        model = bm25s.BM25(k1=K1, b=B)
        model.index(bm25s.tokenization.Tokenized(ids=lists, vocab=dict(words)), show_progress=False)
        return model.scores

    return run


def main() -> None:
    """Times them in turn and reports medians."""
    parser = common.parser(__doc__, repeats=3)
    parser.add_argument("--data", default="msmarco-passage-mini")
    options = parser.parse_args()
    read = WordIds.read(load(options.data).document_texts())
    numbered = read.ids_T, read.offsets, {word: number for number, word in enumerate(read.words)}
    sides = {"twotower": ours(*numbered), "bm25s": by_bm25s(*numbered)}
    mine, theirs = (side() for side in sides.values())
    for key in mine:
        np.testing.assert_array_equal(mine[key], theirs[key], err_msg=key)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, side in sides.items():
            started = time.process_time()
            side()
            times[name].append(time.process_time() - started)
    own, other = (statistics.median(values) for values in times.values())
    common.report(
        options.json, f"BM25 index, {options.data}", goal="no slower than bm25s, the same numbers",
        measured=f"{other / own:.0f} x by processor time ({own:.2f} s against {other:.2f} s, "
        f"{len(read):,} documents, {len(read.ids_T):,} words)",
        met=own <= other, bound="sorting the words of each document", ours_seconds=own, theirs_seconds=other,
    )  # fmt: skip


if __name__ == "__main__":
    main()
