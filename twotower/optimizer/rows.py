"""Adam for tables of which a batch reads a few rows: the gradient holds those rows alone, the update is still Adam's.

A dense gradient of a large table is almost all zeros, yet memory is asked for and filled with them once for every use
of the table in a step, which takes longer than the update itself. Here one table of zeros is kept, the rows of the step
are written into it, torch's own (fused) step reads it, and the rows are set back to zero. Every row, read or not, gets
what torch's Adam gives it; that is what tells this from `SparseAdam`, which leaves rows alone that no text names.

Shapes: V rows of a table, U rows that a step reads, E columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from twotower.optimizer.sparse_adam import unique_rows


class RowGradients(Optimizer):
    """Takes gradients of rows (sparse ones) for an optimizer that reads dense ones."""

    _zeros: dict[Tensor, Tensor]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient; returns what the closure returned, if there is one."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        zeros = vars(self).setdefault("_zeros", {})
        given = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    rows_U, values_UE = unique_rows(parameter.grad)
                    if parameter not in zeros:
                        zeros[parameter] = torch.zeros_like(parameter)
                    zeros[parameter].index_copy_(0, rows_U, values_UE)
                    given.append((parameter, parameter.grad, rows_U))
                    parameter.grad = None
                    parameter.grad = zeros[parameter]
        super().step()
        for parameter, gradient, rows_U in given:
            zeros[parameter].index_fill_(0, rows_U, 0.0)
            parameter.grad = None
            parameter.grad = gradient
        return result


class Adam(RowGradients, torch.optim.Adam):
    """`torch.optim.Adam` for gradients of rows too."""


class AdamW(RowGradients, torch.optim.AdamW):
    """`torch.optim.AdamW` for gradients of rows too."""


FOR_ROWS: dict[type[Optimizer], type[Optimizer]] = {torch.optim.Adam: Adam, torch.optim.AdamW: AdamW}
"""What is built instead of torch's own; on dense gradients both do the same."""


def ask(encoder: nn.Module, optimizer: Optimizer) -> None:
    """Asks the word vectors of an encoder for gradients of rows, where the optimizer takes them; on a CPU only.

    Args:
        encoder: its `embedding` is the table, if it has one.
        optimizer: what trains it.
    """
    table = getattr(encoder, "embedding", None)
    if isinstance(optimizer, RowGradients) and isinstance(table, nn.Embedding) and table.weight.device.type == "cpu":
        table.sparse = True


def forget(optimizer: Optimizer) -> None:
    """Frees what an optimizer keeps of every weight: two or three times the model, useless after training."""
    optimizer.state.clear()
    optimizer.zero_grad(set_to_none=True)
    vars(optimizer).pop("_zeros", None)
