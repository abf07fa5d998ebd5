"""Lion: steps of one length, in the direction of the sign of a moving mean.

Source: Chen et al., Symbolic Discovery of Optimization Algorithms (2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Lion(torch.optim.Optimizer):
    """Takes a learning rate about a tenth of Adam's.

    Args:
        params: parameters, or groups of them.
        lr: length of a step.
        betas: how much of the moving mean counts in the step, and in the mean.
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Makes one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(mean.lerp(parameter.grad, 1 - first).sign(), alpha=-group["lr"])
                mean.lerp_(parameter.grad, 1 - second)
        return loss
