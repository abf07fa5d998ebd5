"""Adam that touches only the word vectors of the batch: for large vocabularies, where a dense step is mostly idle work.

Source: Kingma and Ba, Adam (2015); lazy row updates as in torch.optim.SparseAdam, decoupled decay as in Loshchilov and
Hutter, Decoupled Weight Decay Regularization (2019).

Shapes: T rows of a sparse gradient, U distinct ones among them, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from twotower.kernels.bag import distinct_words

BLOCK = 262_144
"""Numbers updated at a time: a megabyte in each of the tensors involved, enough for several threads to share."""


class SparseAdam(Optimizer):
    """Adam for dense gradients, and lazy Adam for sparse ones, in one optimizer.

    A row without a gradient keeps its value and its moments, so an idle word neither drifts nor decays; otherwise every
    row sees exactly Adam's update. Weight decay is decoupled and reaches only the rows that are updated.

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled, per step.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient; returns what the closure returned, if there is one."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return result

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        if parameter.grad is None:
            return
        if parameter.grad.is_sparse:
            update_rows(parameter, state["exp_avg"], state["exp_avg_sq"], *unique_rows(parameter.grad), state, group)
        else:
            adam_update(parameter, state["exp_avg"], state["exp_avg_sq"], parameter.grad, state, group)


def unique_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the distinct rows [U] of a sparse gradient, rising, and their summed values [U, D].

    What `coalesce` does, several times faster for gradients with one sparse dimension.
    """
    if gradient.is_coalesced():
        return gradient.indices()[0], gradient.values()
    rows_U, place_T = distinct_words(gradient._indices()[0], gradient.shape[0])
    values_TD = gradient._values()
    return rows_U, values_TD.new_zeros(len(rows_U), values_TD.shape[1]).index_add_(0, place_T, values_TD)


def coalesced(gradient: Tensor) -> Tensor:
    """Returns a sparse gradient that names each row once, as `unique_rows` adds them up."""
    rows_U, values_UD = unique_rows(gradient)
    return torch.sparse_coo_tensor(rows_U[None], values_UD, gradient.shape, is_coalesced=True, check_invariants=False)


def update_rows(
    parameter: Tensor,
    mean: Tensor,
    square: Tensor,
    rows_U: Tensor,
    gradient_UD: Tensor,
    state: dict[str, Any],
    group: dict[str, Any],
) -> None:
    """Applies one Adam step to some rows, in place; each row may be given once.

    Changes are added, not copied, into the full tensors: torch adds rows several times faster than it copies them. A
    few rows at a time stay in the processor's cache through all the steps.
    """
    beta1, beta2 = group["betas"]
    size, root = bias_corrections(state, group)
    block = max(1, BLOCK // max(1, parameter[0].numel()))
    for rows_C, gradient_CD in zip(rows_U.split(block), gradient_UD.split(block), strict=True):
        mean_CD, square_CD = mean.index_select(0, rows_C), square.index_select(0, rows_C)
        change_CD = gradient_CD.sub(mean_CD).mul_(1 - beta1)
        mean.index_add_(0, rows_C, change_CD)
        mean_CD.add_(change_CD)
        torch.mul(gradient_CD, gradient_CD, out=change_CD).sub_(square_CD).mul_(1 - beta2)
        square.index_add_(0, rows_C, change_CD)
        square_CD.add_(change_CD)
        change_CD = mean_CD.div_(square_CD.sqrt_().div_(root).add_(group["eps"])).mul_(-size)
        if group["weight_decay"]:
            change_CD.sub_(parameter.index_select(0, rows_C), alpha=group["lr"] * group["weight_decay"])
        parameter.index_add_(0, rows_C, change_CD)


def adam_update(
    parameter: Tensor, mean: Tensor, square: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
) -> None:
    """Applies one Adam step to a whole tensor, in place."""
    beta1, beta2 = group["betas"]
    if group["weight_decay"]:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    size, root = bias_corrections(state, group)
    parameter.addcdiv_(mean, square.sqrt().div_(root).add_(group["eps"]), value=-size)


def bias_corrections(state: dict[str, Any], group: dict[str, Any]) -> tuple[float, float]:
    """Returns the step size, and what the root of the second moment is divided by, after `state["step"]` steps."""
    beta1, beta2 = group["betas"]
    step = int(state["step"])
    return group["lr"] / (1 - beta1**step), (1 - beta2**step) ** 0.5
