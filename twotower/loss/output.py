"""What every loss returns, and what they all need: similarities, forbidden pairs and accuracy.

Shapes: B queries, N documents of the batch (B positives in the queries' order, then B*n explicit negatives, negative j
of query b in row B + b*n + j), D dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count
from twotower.kernels.linear import dense

DISTANCES = ("cosine", "euclidean")


class LossOutput(NamedTuple):
    """A loss to minimise and the batch's accuracy, both scalars.

    accuracy is the share of queries whose positive is strictly more similar than each of its permitted negatives.
    """

    loss: Tensor
    accuracy: Tensor


def similarities(query_BD: Tensor, document_ND: Tensor) -> Tensor:
    """Returns scores_BN in full precision, also under autocast: bf16 has no digits for cosines that nearly agree."""
    with torch.autocast(query_BD.device.type, enabled=False):
        return dense(query_BD, document_ND)


def negative_mask(mask_BN: Tensor) -> Tensor:
    """Returns True where document n may serve as a negative of query b: not forbidden, and not its positive."""
    allowed_BN = ~mask_BN
    allowed_BN.fill_diagonal_(False)  # the first B columns are the positives, in order
    return allowed_BN


@torch.no_grad()
def accuracy(scores_BN: Tensor, mask_BN: Tensor) -> Tensor:
    """Returns the share of queries whose positive outranks all permitted negatives; a tie is a miss."""
    hardest_B = scores_BN.masked_fill(~negative_mask(mask_BN), -torch.inf).amax(1)
    return (scores_BN.diagonal() > hardest_B).float().mean()


def as_output(value: Any, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor) -> LossOutput:
    """Returns what a loss gave, with the batch's accuracy worked out where it gave the loss alone.

    Raises:
        UserError: when it gave anything but a scalar tensor or a `LossOutput`.
    """
    if isinstance(value, LossOutput):
        return value
    if not isinstance(value, Tensor) or value.numel() != 1:
        given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"loss: it gave {given}; a loss returns a scalar tensor, or twotower.loss.output.LossOutput.")
    scores_BN = similarities(query_BD.detach(), document_ND.detach())
    return LossOutput(value.reshape(()), accuracy(scores_BN, mask_BN))


def check_dims(dims: Sequence[int] | None) -> tuple[int, ...]:
    """Returns `loss.dims` in rising order; nothing for None.

    Raises:
        UserError: for anything but different whole numbers.
    """
    if dims is None:
        return ()
    if isinstance(dims, (str, int, float)) or not dims:
        raise UserError(f"loss.dims={dims} must be a list of whole numbers, such as [64,128], or null.")
    checked = sorted(check_count("loss.dims", size) for size in dims)
    if len(set(checked)) < len(checked):
        raise UserError(f"loss.dims={list(dims)} names a size twice.")
    return tuple(checked)


def prefixes(query_BD: Tensor, document_ND: Tensor, dims: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Returns queries and documents cut to their first dimensions, as unit vectors, and last of all the whole.

    Raises:
        UserError: when a size is not below that of the vectors.
    """
    width = query_BD.shape[1]
    if dims and dims[-1] > width:
        raise UserError(f"loss.dims={list(dims)} asks for more than the vectors have: model.output_dim is {width}.")
    cut = [(_unit(query_BD[:, :size]), _unit(document_ND[:, :size])) for size in dims if size < width]
    return [*cut, (query_BD, document_ND)]


def _unit(vectors_BD: Tensor) -> Tensor:
    return nn.functional.normalize(vectors_BD, dim=1, eps=1e-6)


def distances(scores_BN: Tensor, kind: str) -> Tensor:
    """Returns distances between unit vectors from their cosines.

    cosine is 1 - s, euclidean is sqrt(2 - 2 s), with a floor that keeps the gradient finite for equal vectors.
    """
    check_choice("loss.distance", kind, DISTANCES)
    return 1 - scores_BN if kind == "cosine" else (2 - 2 * scores_BN).clamp_min(1e-8).sqrt()
