"""Rows scaled to length 1, with a gradient in a third of the passes that autograd makes of it.

Shapes: B rows, D dimension.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORT = 1e-12
"""A row that is no longer has no direction."""


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors_BD: Tensor) -> Tensor:
        unit_BD, length_B1 = _scaled(vectors_BD)
        ctx.save_for_backward(unit_BD, length_B1)
        return unit_BD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BD: Tensor) -> Tensor:
        unit_BD, length_B1 = ctx.saved_tensors
        along_B1 = torch.linalg.vecdot(grad_BD, unit_BD)[:, None]
        share_B1 = torch.where(length_B1 > SHORT, 1 / length_B1, 0.0)
        return torch.addcmul(grad_BD, unit_BD, along_B1, value=-1).mul_(share_B1)


def _scaled(vectors_BD: Tensor) -> tuple[Tensor, Tensor]:
    norm_B1 = torch.linalg.vector_norm(vectors_BD, dim=-1, keepdim=True)
    length_B1 = norm_B1.clamp_min(SHORT).masked_fill(norm_B1.isinf(), torch.nan)
    unit_BD = vectors_BD / length_B1
    nowhere_B1 = norm_B1 <= SHORT
    if vectors_BD.device.type != "cpu" or bool(nowhere_B1.any()):  # a GPU would have to be waited for
        unit_BD = torch.where(nowhere_B1, vectors_BD.shape[-1] ** -0.5, unit_BD)
    return unit_BD, length_B1


def normalise(vectors_BD: Tensor) -> Tensor:
    """Scales every row to length 1; a row of zeros becomes the unit vector with equal entries, and has no gradient.

    A row that is not finite, or too long for its length to be, becomes NaN: it must not pass for a vector.
    """
    return _Normalise.apply(vectors_BD)  # type: ignore[no-any-return,no-untyped-call]
