"""Weighted sums of word vectors over ragged texts, with a backward pass as cheap as the forward one; quick dropout.

Shapes: B texts, T tokens, U distinct words of the batch, V vocabulary, E embedding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

GAP = 16
"""Numbers between two rows of a gradient of rows."""
STEPS = 2**16
"""A chance of dropping is rounded to multiples of one in so many."""


class _WeightedBag(torch.autograd.Function):
    """The sum is a sparse matrix times the table; its gradient is the transposed matrix times the gradient.

    Torch's own backward of embedding_bag adds token by token; sorted by word, the same fused kernel does it five times
    as fast.
    """

    @staticmethod
    def forward(ctx: Any, table_UE: Tensor, place_T: Tensor, offsets_B1: Tensor, weight_T: Tensor) -> Tensor:
        ctx.save_for_backward(place_T, offsets_B1, weight_T)
        ctx.words = len(table_UE)
        return _bag(table_UE, place_T, offsets_B1, weight_T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BE: Tensor) -> tuple[Tensor, None, None, None]:
        place_T, offsets_B1, weight_T = ctx.saved_tensors
        return _by_word(grad_BE, place_T, offsets_B1, weight_T, ctx.words), None, None, None


class _WordSums(torch.autograd.Function):
    """As `_WeightedBag`, of a whole table whose rows each have a weight: nothing is gathered for the forward pass.

    A word's weight gets its gradient from its row, not token by token, and a gradient of rows (a sparse one) names each
    word once. Such rows lie in memory with a gap between them: torch adds up two sparse gradients, here the queries'
    and the documents', row by row into fresh zeros where each is one block, and joins them where it is not, in two
    fifths of the time (`experiments/benchmarks/training.py` times the step that this is for).
    """

    @staticmethod
    def forward(
        ctx: Any,
        table_VE: Tensor,
        weight_V: Tensor | None,
        ids_T: Tensor,
        offsets_B1: Tensor,
        count_T: Tensor,
        rows: bool,
    ) -> Tensor:
        ctx.save_for_backward(table_VE, weight_V, ids_T, offsets_B1, count_T)
        ctx.rows = rows
        return _bag(table_VE, ids_T, offsets_B1, count_T if weight_V is None else count_T * weight_V[ids_T])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BE: Tensor) -> tuple[Tensor | None, ...]:
        table_VE, weight_V, ids_T, offsets_B1, count_T = ctx.saved_tensors
        words_U, place_T = distinct_words(ids_T, len(table_VE))
        sum_UE = _by_word(grad_BE, place_T, offsets_B1, count_T, len(words_U))
        table_grad = weight_grad = None
        if weight_V is not None and ctx.needs_input_grad[1]:
            own_U = torch.linalg.vecdot(sum_UE, table_VE.index_select(0, words_U))
            weight_grad = torch.zeros_like(weight_V).index_copy_(0, words_U, own_U)
        if ctx.needs_input_grad[0]:
            factor_U1 = 1.0 if weight_V is None else weight_V.index_select(0, words_U)[:, None]
            if ctx.rows:
                apart_UE = sum_UE.new_empty(len(words_U), sum_UE.shape[1] + GAP)[:, : sum_UE.shape[1]]
                torch.mul(sum_UE, factor_U1, out=apart_UE)
                table_grad = torch.sparse_coo_tensor(words_U[None], apart_UE, table_VE.shape, check_invariants=False)
            else:
                table_grad = torch.zeros_like(table_VE).index_copy_(0, words_U, sum_UE.mul_(factor_U1))
        return table_grad, weight_grad, None, None, None, None


def _by_word(grad_BE: Tensor, place_T: Tensor, offsets_B1: Tensor, weight_T: Tensor, words: int) -> Tensor:
    """Returns for each of so many words the sum [U, E] of the gradients of the texts that hold it, as they weigh it."""
    row_T = torch.repeat_interleave(offsets_B1[1:] - offsets_B1[:-1], output_size=len(place_T))
    order_T = torch.sort(place_T.int(), stable=True).indices
    offsets_U1 = F.pad(torch.bincount(place_T, minlength=words).cumsum(0), (1, 0))
    return _bag(grad_BE.contiguous(), row_T[order_T], offsets_U1, weight_T[order_T])


def _bag(table_UE: Tensor, place_T: Tensor, offsets_B1: Tensor, weight_T: Tensor) -> Tensor:
    return F.embedding_bag(
        place_T, table_UE, offsets_B1, mode="sum", per_sample_weights=weight_T, include_last_offset=True
    )


def weighted_bag(table_UE: Tensor, place_T: Tensor, offsets_B1: Tensor, weight_T: Tensor) -> Tensor:
    """Returns the sums [B, E] of each text's table rows times their weights; zeros for a text without tokens.

    Args:
        table_UE: the vectors; gradients reach them.
        place_T: row of the table of every token.
        offsets_B1: where each text starts, and the end of the last.
        weight_T: a weight for every token, constant: no gradient reaches it.
    """
    if not len(place_T):
        return table_UE.new_zeros(len(offsets_B1) - 1, table_UE.shape[1]) + 0 * table_UE.sum()
    return _WeightedBag.apply(table_UE, place_T, offsets_B1, weight_T.to(table_UE.dtype))  # type: ignore[no-any-return,no-untyped-call]


def word_sums(
    table_VE: Tensor, weight_V: Tensor | None, ids_T: Tensor, offsets_B1: Tensor, count_T: Tensor, *, rows: bool
) -> Tensor:
    """Returns the sums [B, E] of each text's word vectors, each times its word's weight and how much it counts there.

    Args:
        table_VE: the word vectors; gradients reach them.
        weight_V: a weight of every word, whom gradients reach too; None for 1.
        ids_T: the word of every token.
        offsets_B1: where each text starts, and the end of the last.
        count_T: how much every token counts, constant.
        rows: whether the table's gradient is to be one of rows (sparse).
    """
    if not len(ids_T):
        return table_VE.new_zeros(len(offsets_B1) - 1, table_VE.shape[1]) + 0 * table_VE[0].sum()
    return _WordSums.apply(table_VE, weight_V, ids_T, offsets_B1, count_T.to(table_VE.dtype), rows)  # type: ignore[no-any-return,no-untyped-call]


def distinct_words(ids_T: Tensor, vocabulary_size: int) -> tuple[Tensor, Tensor]:
    """Returns the distinct words [U] of a batch, rising, and the place [T] of every token's word among them."""
    if ids_T.device.type != "cpu":
        words_U, place_T = torch.unique(ids_T, return_inverse=True)
        return words_U, place_T
    # by a table of the vocabulary instead of sorting: twice as fast
    present_V = torch.zeros(vocabulary_size, dtype=torch.bool)
    present_V[ids_T] = True
    words_U = present_V.nonzero()[:, 0]
    place_V = torch.empty(vocabulary_size, dtype=torch.int64)
    place_V[words_U] = torch.arange(len(words_U))
    return words_U, place_V[ids_T]


def kept(shape: torch.Size, probability: float, device: torch.device) -> Tensor:
    """Returns True for what dropout keeps, drawn from torch's generator; 16 random bits decide each place.

    Eight times as fast on a CPU as drawing a float for each.
    """
    count = shape.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64, device=device).random_(-(2**63), None)
    threshold = round(probability * STEPS) - STEPS // 2
    return (bits.view(torch.int16)[:count] >= threshold).view(shape)


class Dropout(torch.nn.Module):
    """As `torch.nn.Dropout`, with the quicker draw of `kept`.

    Args:
        probability: chance that an entry is zeroed in training; the others are scaled up to make up for it.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, input_BD: Tensor) -> Tensor:
        """Returns a tensor of the input's shape."""
        if not self.training or not self.probability:
            return input_BD
        keep_BD = kept(input_BD.shape, self.probability, input_BD.device)
        return input_BD * (keep_BD.to(input_BD.dtype) / (1 - self.probability))
