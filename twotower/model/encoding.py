"""Encodes whole collections: texts of similar lengths together, in batches as large as memory and cache like.

Shapes: N rows asked for, B rows of a batch, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from twotower.core.finite import check_vectors
from twotower.core.validators import check_choice, check_count
from twotower.kernels.distributed import group_rank, merge_rows, world_size
from twotower.model.encoder import width_of
from twotower.model.rnn import RecurrentTower

if TYPE_CHECKING:
    from twotower.text.tokens import Tokens

SIDES = ("query", "document")
CELLS = {True: 262_144, False: 16_384}
"""Tokens of a batch, padding included, for mlp towers (which need no room per token) and for recurrent ones."""
MOST_ROWS = 16_384
AS_THEY_COME = 256
"""Rows of a batch for towers that read padding: the mistake is made on texts as they come, sorting would hide it."""


def encode(
    model: Any,
    tokens: Tokens,
    *,
    side: str,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
    rows: np.ndarray | None = None,
    shared: bool = False,
) -> np.ndarray:
    """Encodes texts without gradients, on the model's device, in evaluation mode.

    Args:
        model: a `TwoTower` or another `twotower.config.protocols.Encoder`; its training mode is restored afterwards.
        tokens: ragged token rows.
        side: query or document.
        batch_size: most rows of a batch; None lets the number of tokens decide.
        progress: called after every batch with the number of rows it held.
        rows: row numbers to encode, in this order; None for all.
        shared: every process of the group calls this, encodes its share of the batches, and gets all vectors. The
            batches are those of one process, so the vectors are the same to the last bit.

    Returns:
        Unit vectors float32 [N, D] in the order of `rows`.

    Raises:
        UserError: for an unknown side, a batch size below 1, or a model whose vectors are not finite.
    """
    check_choice("side", side, SIDES)
    tower = getattr(model, f"{side}_tower", model)
    most = MOST_ROWS if batch_size is None else check_count("batch_size", batch_size)
    wanted_N = np.arange(len(tokens)) if rows is None else np.asarray(rows, dtype=np.int64)
    vectors_ND = np.empty((len(wanted_N), width_of(model)), dtype=np.float32)
    device = next(iter(model.parameters())).device
    encode_batch = model.encode_queries if side == "query" else model.encode_documents
    batches = _batches(tower, tokens.lengths[wanted_N], most)
    own = batches[group_rank() :: world_size()] if shared else batches
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for part_B in own:
                batch = tokens.take(wanted_N[part_B]).to(device)
                vectors_ND[part_B] = encode_batch(batch).float().cpu().numpy()
                if progress is not None:
                    progress(len(part_B))
    finally:
        model.train(training)
    if shared and world_size() > 1:
        empty = np.zeros(0, dtype=np.int64)
        shares = [np.concatenate([empty, *batches[number :: world_size()]]) for number in range(world_size())]
        vectors_ND = merge_rows(vectors_ND[shares[group_rank()]], shares)
    check_vectors(vectors_ND, side)
    return vectors_ND


def _batches(tower: object, lengths_N: np.ndarray, most: int) -> list[np.ndarray]:
    """Returns the rows of each batch: texts of similar lengths, or as they come for a tower that reads padding."""
    if reads_padding(tower):
        count = max(1, -(-len(lengths_N) // min(most, AS_THEY_COME)))
        return np.array_split(np.arange(len(lengths_N)), count)
    cells = CELLS[not getattr(tower, "pads_batches", True)]
    return list(length_batches(lengths_N, most_rows=most, most_cells=cells))


def reads_padding(tower: object) -> bool:
    """Says whether a tower's vectors depend on their batch's padding (`pooling=pad_step`, a reproduced mistake)."""
    return isinstance(tower, RecurrentTower) and tower.layers[-2].kind == "pad_step"


def length_batches(lengths_N: np.ndarray, *, most_rows: int, most_cells: int) -> Iterator[np.ndarray]:
    """Yields positions in order of falling length, cut where a padded batch would pass either limit.

    Args:
        lengths_N: tokens of each row.
        most_rows: rows of a batch.
        most_cells: rows times longest row of a batch; a single row longer than that is a batch of its own.
    """
    order_N = np.argsort(-lengths_N, kind="stable")
    start = 0
    while start < len(order_N):
        longest = max(1, int(lengths_N[order_N[start]]))
        stop = start + max(1, min(most_rows, most_cells // longest))
        yield order_N[start:stop]
        start = stop
