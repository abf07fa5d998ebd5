"""Matrix products of linear layers through oneDNN, with gradients.

Torch sends float32 products on a CPU to MKL, which leaves the wide instructions of processors by other makers unused:
on an AMD EPYC with AVX-512 oneDNN does the same product in less than half the time. On one with AVX2 alone it takes a
quarter longer for a gradient's product, so there, as elsewhere and for other types, torch's own serves.

Shapes: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

WIDE = torch.backends.cpu.get_cpu_capability() == "AVX512"
"""Whether the processor has the instructions that oneDNN makes more of than MKL."""


def fits(tensor: Tensor) -> bool:
    """Says whether oneDNN is to take products of this tensor: on such a CPU, in float32 or bfloat16."""
    return (
        WIDE
        and tensor.device.type == "cpu"
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


def across(rows_NO: Tensor, input_NI: Tensor) -> Tensor:
    """Returns rows^T x input [O, I], the gradient of a weight, without gradients of its own."""
    if fits(rows_NO) and rows_NO.dtype == torch.float32:  # in bfloat16 torch goes through oneDNN by itself
        return product(rows_NO.t().contiguous(), input_NI.t())
    return rows_NO.t() @ input_NI


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(input_NI, weight_OI)
        return product(input_NI, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input_NI, weight_OI = ctx.saved_tensors
        input_wanted, weight_wanted, bias_wanted = ctx.needs_input_grad
        rows_NO = grad_NO.contiguous()
        return (
            product(rows_NO, weight_OI.t()) if input_wanted else None,
            across(rows_NO, input_NI) if weight_wanted else None,
            rows_NO.sum(0) if bias_wanted else None,
        )


def dense(input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """Returns input x weight^T + bias [N, O], as `torch.nn.functional.linear` does; bfloat16 under autocast."""
    if not fits(input_NI) or input_NI.dtype != weight_OI.dtype:
        return F.linear(input_NI, weight_OI, bias_O)
    if torch.is_autocast_enabled("cpu"):
        low = torch.get_autocast_dtype("cpu")
        input_NI, weight_OI = input_NI.to(low), weight_OI.to(low)
        bias_O = None if bias_O is None else bias_O.to(low)
    return _Dense.apply(input_NI.contiguous(), weight_OI.contiguous(), bias_O)  # type: ignore[no-any-return,no-untyped-call]


class Linear(torch.nn.Linear):
    """`torch.nn.Linear` for inputs with two axes, its products through `dense`."""

    def forward(self, input: Tensor) -> Tensor:
        """Returns output [N, O] of input [N, I]."""
        return dense(input, self.weight, self.bias)
