"""Pseudo-queries: a few words drawn from each document, the rarer the likelier.

Shapes: B documents, U their distinct words together, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch

from twotower.core.ragged import distinct, to_offsets
from twotower.text.tokens import TokenBatch

SPECIAL = 2
"""Padding and unknown words, which are never drawn."""


def draw_queries(
    documents: TokenBatch, log_weight_V: np.ndarray, generator: np.random.Generator, *, min_words: int, max_words: int
) -> TokenBatch:
    """Draws distinct words from each document without replacement, their chances in proportion to the words' weights.

    By the Gumbel trick: the words with the highest log weight + Gumbel noise are such a sample.

    Args:
        documents: B texts.
        log_weight_V: logarithm of each word's weight.
        generator: of everything random.
        min_words: the fewest words drawn; a document with fewer gives all it has.
        max_words: the most.

    Returns:
        B queries, the words in the order of the draw; empty for a document without known words.
    """
    ids_T, offsets_B1 = documents.ids_T.numpy(), documents.offsets_B1.numpy()
    size, rows = len(log_weight_V), documents.size
    row_T = np.repeat(np.arange(rows), np.diff(offsets_B1))
    key_U = distinct(row_T[ids_T >= SPECIAL] * size + ids_T[ids_T >= SPECIAL])
    row_U, word_U = key_U // size, key_U % size
    score_U = log_weight_V[word_U] + generator.gumbel(size=len(key_U))
    span = 1.0 + score_U.max(initial=0.0) - score_U.min(initial=0.0)  # no score takes a word into another document
    order_U = np.argsort(row_U * span - score_U)
    count_B = np.bincount(row_U, minlength=rows)
    wanted_B = np.minimum(generator.integers(min_words, max_words + 1, rows), count_B)
    rank_U = np.arange(len(key_U)) - np.repeat(to_offsets(count_B)[:-1], count_B)
    drawn_U = rank_U < np.repeat(wanted_B, count_B)
    ids = torch.from_numpy(word_U[order_U][drawn_U].astype(np.int64))
    return TokenBatch(ids, torch.from_numpy(to_offsets(wanted_B)))
