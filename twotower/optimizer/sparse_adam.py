"""Adam that touches only the word vectors of the batch: for large vocabularies, where a dense step is mostly idle work.

Source: Kingma and Ba, Adam (2015); lazy row updates as in torch.optim.SparseAdam, decoupled decay as in Loshchilov and
Hutter, Decoupled Weight Decay Regularization (2019).

Shapes: V vocabulary, U distinct rows of the batch, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


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
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
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
        if parameter.grad is not None and parameter.grad.is_sparse:
            gradient = parameter.grad.coalesce()
            rows_U = gradient.indices()[0]
            tensors = (parameter, state["exp_avg"], state["exp_avg_sq"])
            value, mean, square = (tensor.index_select(0, rows_U) for tensor in tensors)
            adam_update(value, mean, square, gradient.values(), step=int(state["step"]), group=group)
            for tensor, part in zip(tensors, (value, mean, square), strict=True):
                tensor.index_copy_(0, rows_U, part)
        elif parameter.grad is not None:
            adam_update(
                parameter, state["exp_avg"], state["exp_avg_sq"], parameter.grad, step=int(state["step"]), group=group
            )


def adam_update(
    parameter: Tensor, mean: Tensor, square: Tensor, gradient: Tensor, *, step: int, group: dict[str, Any]
) -> None:
    """Applies one Adam step in place, with bias correction by the parameter's number of steps."""
    beta1, beta2 = group["betas"]
    if group["weight_decay"]:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    size = group["lr"] / (1 - beta1**step)
    denominator = square.div(1 - beta2**step).sqrt_().add_(group["eps"])
    parameter.addcdiv_(mean, denominator, value=-size)
