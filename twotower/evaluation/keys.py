"""One integer per (score, document) that sorts by score descending, then by document id ascending.

A float32 score and the place of the document's id in string order are packed into one int64, so that a plain `topk`
or `sort` over keys obeys the tie rule exactly, whatever blocks the scores were computed in.

Shapes: Q queries, K ranks, N documents.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

NOTHING = torch.iinfo(torch.int64).min
"""The key of an empty rank: below every real key."""

_LOW = 0xFFFFFFFF


def id_order(document_ids: Sequence[str]) -> np.ndarray:
    """Returns int64 [N]: the place of each document's id among all ids in ascending string order.

    Example:
        >>> id_order(["b", "a10", "a9"]).tolist()
        [2, 0, 1]
    """
    by_id = sorted(range(len(document_ids)), key=document_ids.__getitem__)
    order = np.empty(len(by_id), dtype=np.int64)
    order[by_id] = np.arange(len(by_id))
    return order


def pack(scores: Tensor, order: Tensor) -> Tensor:
    """Packs float32 scores and id places (int64, below 2**32) of one shape into int64 keys; larger is better.

    A score of -inf marks an empty rank.
    """
    bits = (scores + 0.0).view(torch.int32)  # + 0.0: minus zero equals zero, so it must tie with it
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    keys = (ordered << 32) | (_LOW - order)
    return keys.masked_fill_(torch.isneginf(scores), NOTHING)


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (float32 scores, int64 id places); an empty rank has score -inf and place -1."""
    empty = keys == NOTHING
    ordered = (keys >> 32).to(torch.int32)
    bits = ordered ^ ((ordered >> 31) & 0x7FFFFFFF)
    scores = bits.view(torch.float32).masked_fill(empty, -torch.inf)
    return scores, (_LOW - (keys & _LOW)).masked_fill(empty, -1)
