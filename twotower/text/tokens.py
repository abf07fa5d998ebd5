"""Ragged rows of token ids: all texts in one flat array, a batch taken out by array operations.

Shapes: N rows, B rows of a batch, T tokens of all rows together. Row i is `ids_T[offsets[i]:offsets[i + 1]]`; an empty
text is a row of length 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twotower.core.files import write_json
from twotower.core.ragged import ranges, to_offsets
from twotower.core.reading import read_array, read_typed_json

if TYPE_CHECKING:
    import torch  # a process that only searches does without: importing it takes seconds


class TokenBatch(NamedTuple):
    """Token ids of B texts, ragged.

    Attributes:
        ids_T: int64 [T], the ids of all texts, one after the other.
        offsets_B1: int64 [B + 1], where each text starts; the last entry is T.
    """

    ids_T: torch.Tensor
    offsets_B1: torch.Tensor

    @property
    def lengths(self) -> torch.Tensor:
        """Number of tokens of each text, int64 [B]."""
        return self.offsets_B1[1:] - self.offsets_B1[:-1]

    @property
    def size(self) -> int:
        """Number of texts, B."""
        return self.offsets_B1.shape[0] - 1

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TokenBatch:
        """Returns the batch on another device."""
        return TokenBatch(
            self.ids_T.to(device, non_blocking=non_blocking), self.offsets_B1.to(device, non_blocking=non_blocking)
        )

    def pin_memory(self) -> TokenBatch:
        """Returns the batch in page-locked memory, from which copies to a GPU need not wait."""
        return TokenBatch(self.ids_T.pin_memory(), self.offsets_B1.pin_memory())

    @staticmethod
    def from_rows(rows: Sequence[Sequence[int]]) -> TokenBatch:
        """Builds a batch from lists of ids; for tests and single queries."""
        import torch

        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        ids_T = np.array([item for row in rows for item in row], dtype=np.int64)
        return TokenBatch(torch.from_numpy(ids_T), torch.from_numpy(to_offsets(lengths)))


@dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """What encoding met.

    Attributes:
        texts: number of texts.
        tokens: their tokens before cutting to max_length.
        unknown: those of them that the vocabulary does not hold.
        truncated: texts that were cut.
        cut_tokens: tokens cut off.
        empty: texts without a token.
    """

    texts: int = 0
    tokens: int = 0
    unknown: int = 0
    truncated: int = 0
    cut_tokens: int = 0
    empty: int = 0

    @property
    def oov_rate(self) -> float:
        """Share of tokens (before cutting) that the vocabulary does not hold."""
        return self.unknown / self.tokens if self.tokens else 0.0

    @property
    def truncation_rate(self) -> float:
        """Share of texts that were longer than max_length."""
        return self.truncated / self.texts if self.texts else 0.0

    def __add__(self, other: TokenStatistics) -> TokenStatistics:
        return TokenStatistics(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Token ids of N texts.

    Attributes:
        ids_T: int32 [T], possibly memory-mapped.
        offsets: int64 [N + 1].
        statistics: what encoding met, for the report.
    """

    ids_T: np.ndarray
    offsets: np.ndarray
    statistics: TokenStatistics = TokenStatistics()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each row, int64 [N]."""
        return np.diff(self.offsets)

    @cached_property
    def frequency(self) -> np.ndarray:
        """Number of rows in which each word occurs, up to the last word that does, int64."""
        size = int(self.ids_T.max(initial=-1)) + 1
        rows_T = np.repeat(np.arange(len(self)), self.lengths)
        pairs_T = rows_T * np.int64(size) + np.asarray(self.ids_T)
        pairs_T.sort()  # a tenth of the time of numpy's unique, which goes by a hash table
        first_T = np.concatenate([[True], pairs_T[1:] != pairs_T[:-1]])[: len(pairs_T)]
        return np.bincount(pairs_T[first_T] % max(size, 1), minlength=size).astype(np.int64)

    def row(self, number: int) -> np.ndarray:
        """Returns the ids of one row, int32."""
        return np.asarray(self.ids_T[self.offsets[number] : self.offsets[number + 1]])

    def take(self, rows: np.ndarray) -> TokenBatch:
        """Gathers rows, in the given order (repeats allowed), as one batch.

        Args:
            rows: int [B], row numbers from 0 to N - 1.
        """
        import torch

        rows = np.asarray(rows, dtype=np.int64)
        starts_B = self.offsets[rows]
        lengths_B = self.offsets[rows + 1] - starts_B
        ids_T = self.ids_T[ranges(starts_B, lengths_B)].astype(np.int64)
        return TokenBatch(torch.from_numpy(ids_T), torch.from_numpy(to_offsets(lengths_B)))

    def save(self, folder: Path) -> None:
        """Writes `ids.npy`, `offsets.npy` and `statistics.json` into an existing folder."""
        np.save(folder / "ids.npy", np.asarray(self.ids_T, dtype=np.int32))
        np.save(folder / "offsets.npy", np.asarray(self.offsets, dtype=np.int64))
        write_json(folder / "statistics.json", vars(self.statistics))

    @staticmethod
    def load(folder: Path) -> Tokens:
        """Opens what `save` wrote; the ids stay on disk, memory-mapped."""
        numbers = {field.name: (int, float) for field in fields(TokenStatistics)}
        statistics = TokenStatistics(**read_typed_json(folder / "statistics.json", numbers))
        ids_T = read_array(folder / "ids.npy", dtype="int32", shape=(None,), mapped=True)
        offsets = read_array(folder / "offsets.npy", dtype="int64", shape=(None,))
        return Tokens(ids_T=ids_T, offsets=offsets, statistics=statistics)


def concatenate(parts: Sequence[Tokens]) -> Tokens:
    """Joins several Tokens into one, rows in order."""
    if not parts:
        return Tokens(ids_T=np.zeros(0, dtype=np.int32), offsets=np.zeros(1, dtype=np.int64))
    lengths = np.concatenate([part.lengths for part in parts])
    statistics = sum((part.statistics for part in parts), start=TokenStatistics())
    ids_T = np.concatenate([part.ids_T for part in parts])
    return Tokens(ids_T=ids_T, offsets=to_offsets(lengths), statistics=statistics)


def document_frequency(tokens: Tokens, size: int) -> np.ndarray:
    """Counts in how many rows each word occurs, int64 [V]; `size` is V."""
    return np.pad(tokens.frequency, (0, size - len(tokens.frequency)))


def idf(tokens: Tokens, size: int) -> np.ndarray:
    """Inverse document frequency, ln((1 + N) / (1 + df)) + 1 (scikit-learn's smoothed form), float32 [V]."""
    frequency_V = document_frequency(tokens, size)
    return (np.log((1 + len(tokens)) / (1 + frequency_V)) + 1).astype(np.float32)


def bm25_idf(frequency_V: np.ndarray, documents: int) -> np.ndarray:
    """Returns BM25's inverse document frequency, ln(1 + (N - df + .5) / (df + .5)), float32 [V].

    Args:
        frequency_V: in how many documents each word occurs, df.
        documents: number of documents N.
    """
    frequency_V = np.asarray(frequency_V, dtype=np.float64)
    return np.log1p((documents - frequency_V + 0.5) / (frequency_V + 0.5)).astype(np.float32)
