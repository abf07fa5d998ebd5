"""What bm25s keeps of documents, in bm25s's own files: written by it, read by typed readers without it.

The numbers are bm25s's own to the last bit, but computed for all documents together: bm25s goes through them one by one
in Python, 23 times as long for 150,000 passages of 75 words.

Shapes: N documents, T words of all of them, V distinct words, E (word, document) entries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bm25s
import numpy as np
from scipy import sparse

from twotower.core.reading import Each, read_typed_json
from twotower.lexical.pairs import check_starts, read_numbers

PARAMETERS, VOCABULARY = "params.index.json", "vocab.index.json"
NUMBERS = {
    "data.csc.index.npy": "float32",
    "indices.csc.index.npy": "int32",
    "indptr.csc.index.npy": ("int64", "int32"),
}
"""Files of numbers, with their kinds."""
BLOCK = 1 << 20
"""Entries computed at a time, in twice the width they are kept in."""
NAMES = {
    **dict(zip(("data_name", "indices_name", "indptr_name"), NUMBERS, strict=True)),
    **{"vocab_name": VOCABULARY, "params_name": PARAMETERS},
}
"""What bm25s calls each file."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What bm25s keeps of documents.

    Attributes:
        data: float32, what each (word, document) entry adds to the document's score.
        rows: int32, the document of each entry.
        starts: int64 [V + 1], where each word's entries begin.
        words: each word's number.
        k1: what the entries were computed with.
        b: what the entries were computed with.
    """

    data: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    words: Mapping[str, int]
    k1: float
    b: float

    @classmethod
    def of(cls, ids_T: np.ndarray, offsets: np.ndarray, words: Mapping[str, int], *, k1: float, b: float) -> Stored:
        """Returns what bm25s keeps of N documents, by its "lucene" formula.

        Args:
            ids_T: int32, the words of all documents by number, one after the other; at least one. Used up: it is
                sorted in place, document by document.
            offsets: int64 [N + 1], where each document begins.
            words: the V words' numbers, from 0 without gaps.
            k1: how soon repeated words saturate.
            b: how much the length of documents counts.
        """
        count, length_N = len(offsets) - 1, np.diff(offsets)
        times = sparse.csr_matrix((np.ones(len(ids_T), np.float32), ids_T, offsets), shape=(count, len(words)))
        times.sum_duplicates()
        times = times.tocsc()
        documents_V = np.diff(times.indptr)
        idf_V = np.array([math.log(1 + (count - held + 0.5) / (held + 0.5)) for held in documents_V.tolist()])
        idf_E = np.repeat(idf_V.astype(np.float32), documents_V)
        saturation_N = k1 * ((1 - b) + b * length_N / length_N.mean())
        for start in range(0, len(idf_E), BLOCK):
            part = slice(start, start + BLOCK)
            times_B = times.data[part].astype(np.float64)
            times.data[part] = idf_E[part] * (times_B / (saturation_N[times.indices[part]] + times_B))
        starts = times.indptr.astype(np.int64)
        numbered = {**words, "": len(words)}  # what bm25s gives a query without any known word
        return cls(data=times.data, rows=times.indices, starts=starts, words=numbered, k1=k1, b=b)

    def save(self, folder: Path, *, count: int, prefix: str = "") -> None:
        """Writes the files; `bm25s.BM25.load` reads them too.

        Args:
            folder: made where it is missing.
            count: N.
            prefix: stands before every file's name, for more than one in a folder.
        """
        model = bm25s.BM25(k1=self.k1, b=self.b)
        model.scores = {"data": self.data, "indices": self.rows, "indptr": self.starts, "num_docs": count}
        model.vocab_dict, model.nonoccurrence_array = dict(self.words), None
        model.save(folder, show_progress=False, **{key: f"{prefix}{name}" for key, name in NAMES.items()})

    @classmethod
    def load(cls, folder: Path, *, prefix: str = "") -> Stored | None:
        """Opens what `save` wrote, the numbers mapped into memory; None where there is nothing of it.

        Raises:
            UserError: when a file is missing or damaged.
        """
        if not (folder / f"{prefix}{PARAMETERS}").is_file():
            return None
        shape = {"num_docs": int, "k1": (int, float), "b": (int, float)}
        own = read_typed_json(folder / f"{prefix}{PARAMETERS}", shape)
        words = read_typed_json(folder / f"{prefix}{VOCABULARY}", Each(int))
        data, rows, starts = (read_numbers(folder / f"{prefix}{name}", kinds) for name, kinds in NUMBERS.items())
        check_starts(starts, (data, rows), folder)
        starts = np.asarray(starts, dtype=np.int64)
        return cls(data=data, rows=rows, starts=starts, words=words, k1=own["k1"], b=own["b"])
