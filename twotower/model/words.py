"""From the words of a text to one vector: a weighted sum of word vectors, in one fused pass over ragged ids.

Shapes: B batch, T tokens of the batch, U distinct words of the batch, V vocabulary, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twotower.core.validators import check_choice, check_number
from twotower.kernels.bag import kept, word_sums
from twotower.model.pooling import row_lengths
from twotower.text.tokens import Tokens, bm25_idf, document_frequency
from twotower.text.tokens import idf as smoothed_idf

WORD_POOLINGS = ("mean", "weighted")
WORD_WEIGHTS = ("idf", "bm25", "ones")
SPECIAL = 2
"""Words of the vocabulary that are none: padding, and whatever it does not hold."""


@dataclass(frozen=True, kw_only=True)
class WordStatistics:
    """What a corpus tells of its words, for towers to start from.

    Attributes:
        tokens: what idf is counted on: all documents and the training queries.
        documents: the documents alone.
        size: number of words V.
    """

    tokens: Tokens
    documents: Tokens
    size: int

    @cached_property
    def idf(self) -> np.ndarray:
        """Smoothed inverse document frequency over documents and training queries, float32 [V]."""
        return smoothed_idf(self.tokens, self.size)

    @cached_property
    def bm25(self) -> np.ndarray:
        """BM25's inverse document frequency over the documents, float32 [V]; 0 for what is no word."""
        weight_V = bm25_idf(document_frequency(self.documents, self.size), len(self.documents))
        weight_V[:SPECIAL] = 0
        return weight_V

    @property
    def ones(self) -> np.ndarray:
        """1 for every word, float32 [V]; 0 for what is no word."""
        weight_V = np.ones(self.size, dtype=np.float32)
        weight_V[:SPECIAL] = 0
        return weight_V

    @property
    def mean_length(self) -> float:
        """Words of a document on average, at least 1."""
        return max(1.0, len(self.documents.ids_T) / max(1, len(self.documents)))


class WordPooling(nn.Module):
    """Sums word vectors over each text with one weight per word, straight from ragged ids.

    A word that occurs c times in a text counts c ** count_power times: like BM25's saturation, this keeps a page that
    repeats one word from being about nothing else. With `k1` it is that saturation itself: c / (c + k1 (1 - b + b l)),
    l being the text's length against the average document's. The sum is divided by the square root of the length;
    directions decide after L2 normalisation, and this keeps the scale of what the next layer sees nearly the same for
    short and long texts.

    Args:
        vocabulary_size: number of words V.
        kind: mean (all words count the same) or weighted (learned weights `weight` [V], started at 1).
        count_power: 1 counts every occurrence, 0 counts a word once.
        word_dropout: chance that a word is left out of a text in training.
        word_weights: what `start_weights` starts the weights at: idf, BM25's own idf, or ones.
        k1: BM25's; None for `count_power`.
        b: BM25's.

    Raises:
        UserError: for a value out of range.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        kind: str = "weighted",
        count_power: float = 1.0,
        word_dropout: float = 0.0,
        word_weights: str = "idf",
        k1: float | None = None,
        b: float = 0.75,
    ) -> None:
        super().__init__()
        check_choice("model.word_pooling", kind, WORD_POOLINGS)
        self.vocabulary_size = vocabulary_size
        self.count_power = check_number("model.count_power", count_power, at_least=0, at_most=1)
        self.word_dropout = check_number("model.word_dropout", word_dropout, at_least=0, below=1)
        self.word_weights = check_choice("model.word_weights", word_weights, WORD_WEIGHTS)
        self.weight = nn.Parameter(torch.ones(vocabulary_size)) if kind == "weighted" else None
        self.k1 = None if k1 is None else check_number("model.k1", k1, at_least=0)
        self.b = check_number("model.b", b, at_least=0, at_most=1)
        self.mean_length: Tensor | None
        self.register_buffer("mean_length", None if k1 is None else torch.ones(()))

    def start_weights(self, statistics: WordStatistics) -> None:
        """Takes over the average length of a document, and starts the weights, if there are any."""
        if self.mean_length is not None:
            self.mean_length.fill_(statistics.mean_length)
        self.set_weights(torch.from_numpy(getattr(statistics, self.word_weights)))

    def set_weights(self, weight_V: Tensor) -> None:
        """Starts the weights at the given values, if there are any."""
        if self.weight is not None:
            with torch.no_grad():
                self.weight.copy_(weight_V)

    def forward(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns pooled_BE; zeros for a text without words."""
        lengths_B = row_lengths(offsets_B1)
        dtype = embedding.weight.dtype
        if self.k1 is None and self.count_power == 1:
            weight_T = torch.ones_like(ids_T, dtype=dtype)
        else:
            ids_T, offsets_B1, counts_T = count_words(ids_T, offsets_B1, self.vocabulary_size)
            weight_T = self._count(counts_T.to(dtype), offsets_B1, lengths_B)
        if self.training and self.word_dropout:
            weight_T = weight_T * kept(weight_T.shape, self.word_dropout, weight_T.device)
        sum_BE = self._sum(embedding, ids_T, offsets_B1, weight_T)
        return sum_BE * lengths_B.clamp_min(1).to(dtype).rsqrt()[:, None]

    def _count(self, counts_T: Tensor, offsets_B1: Tensor, lengths_B: Tensor) -> Tensor:
        """Returns how much each distinct word of each text counts."""
        if self.k1 is None or self.mean_length is None:
            return counts_T.pow(self.count_power)
        half_B = self.k1 * (1 - self.b + self.b * lengths_B / self.mean_length)
        half_T = torch.repeat_interleave(half_B, row_lengths(offsets_B1), output_size=len(counts_T))
        return counts_T / (counts_T + half_T.to(counts_T.dtype))

    def _sum(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor, weight_T: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            if self.weight is not None:
                weight_T = weight_T * self.weight[ids_T]
            return F.embedding_bag(
                ids_T, embedding.weight, offsets_B1, mode="sum", per_sample_weights=weight_T, include_last_offset=True
            )
        return word_sums(embedding.weight, self.weight, ids_T, offsets_B1, weight_T, rows=embedding.sparse)


def count_words(ids_T: Tensor, offsets_B1: Tensor, vocabulary_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns each text's distinct words (ids and offsets, ragged, ids rising) and how often each occurs there."""
    rows = len(offsets_B1) - 1
    row_T = torch.repeat_interleave(row_lengths(offsets_B1), output_size=len(ids_T))
    key_T = row_T * vocabulary_size + ids_T
    # on a CPU numpy sorts with the processor's wide instructions, four times as fast
    sorted_T = torch.from_numpy(np.sort(key_T.numpy())) if key_T.device.type == "cpu" else key_T.sort().values
    key_U, counts_U = torch.unique_consecutive(sorted_T, return_counts=True)
    starts_B1 = torch.arange(rows + 1, device=ids_T.device) * vocabulary_size
    return key_U % vocabulary_size, torch.searchsorted(key_U, starts_B1), counts_U
