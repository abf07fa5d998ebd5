"""Large batches on small memory: only vectors are kept of a batch, and each chunk is encoded again for its gradients.

Source: Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup (2021). There the gradients
of the vectors are cached and fed back chunk by chunk; recomputing each chunk inside the backward pass computes the same
in the same order, and works with any loss, with several processes and with automatic mixed precision. Dropout draws the
same masks both times.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from twotower.text.tokens import TokenBatch


def encode_in_chunks(encode: Callable[[TokenBatch], Tensor], batch: TokenBatch, chunk: int | None) -> Tensor:
    """Returns the batch's vectors [B, D]; activations of at most `chunk` texts are in memory at a time.

    Args:
        encode: from tokens to vectors.
        batch: B texts.
        chunk: texts of a chunk; None or B and more encode the batch in one piece.
    """
    if chunk is None or chunk >= batch.size:
        return encode(batch)

    def part(ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        return encode(TokenBatch(ids_T, offsets_B1))

    ends = batch.offsets_B1.tolist()
    vectors = []
    for first in range(0, batch.size, chunk):
        last = min(first + chunk, batch.size)
        ids_T = batch.ids_T[ends[first] : ends[last]]
        offsets_B1 = batch.offsets_B1[first : last + 1] - ends[first]
        vectors.append(checkpoint(part, ids_T, offsets_B1, use_reentrant=False))
    return torch.cat(vectors)
