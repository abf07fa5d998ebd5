"""What bm25s keeps of documents, in bm25s's own files: written by it, read by typed readers without it.

Shapes: N documents, V words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bm25s
import numpy as np

from twotower.core.reading import Each, read_typed_json
from twotower.lexical.pairs import check_starts, read_numbers

PARAMETERS, VOCABULARY = "params.index.json", "vocab.index.json"
NUMBERS = {
    "data.csc.index.npy": "float32",
    "indices.csc.index.npy": "int32",
    "indptr.csc.index.npy": ("int64", "int32"),
}
"""Files of numbers, with their kinds."""
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
    def of(cls, model: bm25s.BM25) -> Stored:
        """Returns what an indexed model keeps."""
        scores = model.scores
        starts = np.asarray(scores["indptr"], dtype=np.int64)
        return cls(
            data=scores["data"], rows=scores["indices"], starts=starts, words=model.vocab_dict, k1=model.k1, b=model.b
        )

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
