"""The fast part of a full ranking: blocks of float32 products, of which each query keeps its best few.

After the first block a query has a score to beat, so later blocks are only compared with it and hardly anything needs
sorting. Documents are read once, block by block, so they may lie in a memory-mapped file.

Shapes: Q queries, D dimensions, N documents, W nominated documents, B queries in a block, C documents in a block.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from twotower.core.errors import UserError
from twotower.core.progress import bar
from twotower.kernels.linear import pack, product

LEAST_BLOCK = 4096
"""Documents a block has at least, however many queries there are."""

SCORES_OF_BLOCK = {"cpu": 1 << 20, "gpu": 1 << 25}
"""Scores of one block: 4 MB of float32, which stay in a CPU's cache, and 128 MB on a GPU."""

SHOWN = 500_000_000
"""Products of a query and a document above which there is a bar: some seconds."""


class VectorRows:
    """Rows of vectors in an array, a memory-mapped file or a tensor, read in blocks as float32 tensors.

    Args:
        values: [rows, width], any float type.
        name: what they are, for messages.
        device: where blocks go; None leaves them where they are.
    """

    def __init__(self, values: np.ndarray | Tensor, name: str, device: str | torch.device | None) -> None:
        if values.ndim != 2:
            raise ValueError(f"The {name} vectors need two axes (rows, dimensions), not {values.ndim}.")
        if isinstance(values, np.ndarray) and values.flags.writeable and values.dtype == np.float32:
            values = torch.from_numpy(values)  # shares memory, and torch gathers rows faster
        self.values = values
        self.name = name
        self.device = torch.device(device or (values.device if isinstance(values, Tensor) else "cpu"))
        self.width = int(values.shape[1])
        self._lengths: Tensor | None = None

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def block(self, start: int, stop: int) -> Tensor:
        """Returns rows start to stop as float32 [rows, width] on the device."""
        return self._tensor(self.values[start:stop])

    def take(self, rows: np.ndarray | Tensor) -> Tensor:
        """Returns the given rows as float32 [rows, width] on the device."""
        if isinstance(self.values, np.ndarray):
            return self._tensor(self.values[np.asarray(rows)])
        return self._tensor(self.values.index_select(0, torch.as_tensor(rows, device=self.values.device)))

    def lengths(self) -> Tensor:
        """Returns the Euclidean length of every row, float32 [rows] on the CPU.

        Raises:
            UserError: when a vector holds NaN or an infinity, naming the first such row.
        """
        if self._lengths is None:
            parts = [self.block(at, at + 65536).norm(dim=1).cpu() for at in range(0, len(self), 65536)]
            self._lengths = torch.cat(parts) if parts else torch.zeros(0)
            bad = torch.nonzero(~torch.isfinite(self._lengths))
            if len(bad):
                raise UserError(f"The vector of {self.name} row {int(bad[0])} is not finite ({len(bad)} such rows).")
        return self._lengths

    def _tensor(self, values: np.ndarray | Tensor) -> Tensor:
        if isinstance(values, np.ndarray):
            values = torch.from_numpy(np.array(values, dtype=np.float32))  # a copy: torch can't share read-only arrays
        return values.detach().to(device=self.device, dtype=torch.float32)


def nominate(
    queries: VectorRows, documents: VectorRows, *, width: int, chunk: int | None, max_memory: int
) -> tuple[Tensor, Tensor]:
    """Returns each query's `width` best documents by float32 product, best first.

    Args:
        queries: Q query vectors.
        documents: N document vectors, N at least `width`.
        width: documents to keep for each query.
        chunk: documents in one block; None chooses.
        max_memory: bytes for blocks and the running result.

    Returns:
        (float32 scores [Q, W], int64 rows [Q, W]) on the CPU. Equal scores come in any order.

    Raises:
        UserError: when a vector is not finite.
    """
    across, along = _block_shape(queries, width, chunk, max_memory)
    scores_QW = torch.full((len(queries), width), -torch.inf)
    rows_QW = torch.full((len(queries), width), -1)
    with bar("Ranking", shown=len(documents) * len(queries) > SHOWN) as progress:
        for start in range(0, len(documents), along):
            _merge_block(queries, documents, start, (across, along), scores_QW, rows_QW)
            progress(min(1.0, (start + along) / len(documents)))
    return scores_QW, rows_QW


def _merge_block(
    queries: VectorRows, documents: VectorRows, start: int, shape: tuple[int, int], scores_QW: Tensor, rows_QW: Tensor
) -> None:
    """Merges a block of documents into the best so far, in place."""
    (across, along), width = shape, scores_QW.shape[1]
    block_CD = documents.block(start, start + along)
    packed = pack(block_CD, across) if len(queries) > across else block_CD  # once for all, if it is used again
    for first in range(0, len(queries), across):
        part = slice(first, first + across)
        scores_BC = product(queries.block(first, first + across), packed)
        values, columns = _beating(scores_BC, scores_QW[part, -1].to(scores_BC.device), width)
        if start == 0 and values.shape[1] == width:  # nothing to merge with yet
            scores_QW[part], rows_QW[part] = values.cpu(), columns.cpu()
            continue
        values = torch.cat([scores_QW[part], values.cpu()], dim=1)
        rows = torch.cat([rows_QW[part], columns.cpu() + start], dim=1)
        scores_QW[part], best = values.topk(width, dim=1)
        rows_QW[part] = rows.gather(1, best)


def _block_shape(queries: VectorRows, width: int, chunk: int | None, max_memory: int) -> tuple[int, int]:
    """Chooses (queries, documents) of a block: scores that stay in the cache of a CPU, more on a GPU, or what fits."""
    budget = max(1, max_memory - len(queries) * width * 12) // 4
    scores = SCORES_OF_BLOCK["cpu" if queries.device.type == "cpu" else "gpu"]
    most = max(LEAST_BLOCK, min(1 << 20, scores // max(1, min(512, len(queries)))))
    along = chunk or int(max(256, min(most, budget // (4 * queries.width + 512))))
    across = int(max(1, min(512, len(queries), budget // (24 * along))))
    return across, along


def _beating(scores_BC: Tensor, floor_B: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Returns (scores, columns) [B, M] of at least all entries above each row's floor among its best `width`."""
    if not bool(torch.isneginf(floor_B).any()):
        row, column = torch.nonzero(scores_BC > floor_B[:, None], as_tuple=True)
        count_B = torch.bincount(row, minlength=len(scores_BC))
        most = int(count_B.max())
        if most <= width:
            place = torch.arange(len(row), device=row.device) - (count_B.cumsum(0) - count_B)[row]
            values = scores_BC.new_full((len(scores_BC), most), -torch.inf)
            columns = torch.zeros((len(scores_BC), most), dtype=torch.int64, device=row.device)
            values[row, place] = scores_BC[row, column]
            columns[row, place] = column
            return values, columns
    values, columns = scores_BC.topk(min(width, scores_BC.shape[1]), dim=1)
    return values, columns
