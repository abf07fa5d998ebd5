"""Matrix products of linear layers through oneDNN, with gradients.

Torch sends float32 products on a CPU to MKL, which leaves the wide instructions of processors by other makers unused:
on an AMD EPYC oneDNN does the same product in less than half the time. Elsewhere, and for other types, torch's own.

Shapes: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def fits(tensor: Tensor) -> bool:
    """Says whether oneDNN takes products of this tensor: on a CPU, in float32 or bfloat16."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
    )


def pack(weight_OI: Tensor, rows: int) -> Tensor:
    """Returns the weight in the layout that products with so many rows like, for `product` alone."""
    if not fits(weight_OI):
        return weight_OI
    return torch.ops.mkldnn._reorder_linear_weight(weight_OI, rows)  # type: ignore[no-any-return]


def product(input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Returns input x weight^T + bias [N, O], without gradients.

    Args:
        input_NI: contiguous rows.
        weight_OI: of the same type, plain or from `pack`.
        bias_O: or None.
    """
    if not fits(input_NI):
        return F.linear(input_NI, weight_OI, bias_O)
    return torch.ops.mkldnn._linear_pointwise(input_NI, weight_OI, bias_O, "none", [], "")  # type: ignore[no-any-return]


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
        ctx.save_for_backward(input_NI, weight_OI)
        return product(input_NI, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:  # type: ignore[override]
        input_NI, weight_OI = ctx.saved_tensors
        rows_NO = grad_NO.contiguous()
        grad_NI = product(rows_NO, weight_OI.t().contiguous()) if ctx.needs_input_grad[0] else None
        return grad_NI, rows_NO.t() @ input_NI, rows_NO.sum(0)


def dense(input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
    """Returns input x weight^T + bias [N, O], as `torch.nn.functional.linear` does; bfloat16 under autocast."""
    if not fits(input_NI):
        return F.linear(input_NI, weight_OI, bias_O)
    if torch.is_autocast_enabled("cpu"):
        low = torch.get_autocast_dtype("cpu")
        input_NI, weight_OI, bias_O = input_NI.to(low), weight_OI.to(low), bias_O.to(low)
    return _Dense.apply(input_NI, weight_OI, bias_O)  # type: ignore[no-any-return]
