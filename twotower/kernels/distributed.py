"""Several processes training one model: vectors gathered with exact gradients, work shared, one process that writes.

Shapes: B rows of this process, W processes, D dimension, N rows in all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.autograd.function import once_differentiable


def rank() -> int:
    """This process's number among all; 0 is the one that writes. Known before the processes are connected."""
    return int(getattr(rank_zero_only, "rank", 0) or 0)


def world_size() -> int:
    """How many processes are connected, 1 outside of a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """Every process computes the same loss from all rows, so no gradient need travel: each keeps those of its own rows.

    The gradients of weights are averaged over the processes afterwards, though the loss is one loss and not a mean of
    W; hence the factor W here. Weights of the loss itself (a temperature) see the whole loss everywhere and stay right.
    """

    @staticmethod
    def forward(ctx: Any, own_BD: Tensor) -> Tensor:
        parts = [torch.empty_like(own_BD) for _ in range(world_size())]
        dist.all_gather(parts, own_BD.contiguous())
        ctx.rows = len(own_BD)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ND: Tensor) -> Tensor:
        start = dist.get_rank() * ctx.rows
        return grad_ND[start : start + ctx.rows] * world_size()


def gather_rows(own_BD: Tensor) -> Tensor:
    """Returns the rows of all processes in the order of their ranks [W * B, D]; each gives equally many.

    The gradient is that of one process with the whole batch, once the weights' gradients are averaged (as DDP does).
    """
    return own_BD if world_size() == 1 else _Gather.apply(own_BD)  # type: ignore[no-untyped-call]


def gather_documents(own_ND: Tensor, batch: int) -> Tensor:
    """Returns all processes' documents: first every positive by rank, then every explicit negative by rank.

    Args:
        own_ND: this process's documents, its `batch` positives first.
        batch: queries of this process.
    """
    if world_size() == 1:
        return own_ND
    if len(own_ND) == batch:
        return gather_rows(own_ND)
    return torch.cat([gather_rows(own_ND[:batch]), gather_rows(own_ND[batch:])])


def broadcast_weights(module: torch.nn.Module) -> None:
    """Gives every process the first one's weights, where each has changed its own outside of training steps."""
    if world_size() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


def group_rank() -> int:
    """This process's number within the group of connected processes, 0 outside of a group."""
    return dist.get_rank() if world_size() > 1 else 0


def split_rows(count: int) -> list[np.ndarray]:
    """Returns the numbers below `count` that fall to each process; together they cover each exactly once."""
    return [np.arange(number, count, world_size()) for number in range(world_size())]


def merge_rows(own_BD: np.ndarray, shares: list[np.ndarray]) -> np.ndarray:
    """Returns all rows [N, D], bit for bit as their process made them; every process of the group calls it.

    Args:
        own_BD: the rows of this process, of any number type.
        shares: the numbers of each process's rows, by rank; together 0 to N - 1.
    """
    if world_size() == 1:
        whole_ND = np.empty_like(own_BD)
        whole_ND[shares[0]] = own_BD
        return whole_ND
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    size = max(map(len, shares))  # all give equally many, the last of them perhaps not used
    padded_SD = torch.zeros((size, own_BD.shape[1]), dtype=torch.from_numpy(own_BD).dtype, device=device)
    padded_SD[: len(own_BD)] = torch.from_numpy(own_BD).to(device)
    parts = [torch.empty_like(padded_SD) for _ in shares]
    dist.all_gather(parts, padded_SD)
    whole_ND = np.empty((sum(map(len, shares)), own_BD.shape[1]), dtype=own_BD.dtype)
    for share, part in zip(shares, parts, strict=True):
        whole_ND[share] = part[: len(share)].cpu().numpy()
    return whole_ND
