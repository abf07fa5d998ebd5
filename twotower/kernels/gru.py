"""One direction of a gru layer on a CPU: all steps in one function that knows its own gradient.

Torch runs a dozen small operations a step, as many again for the gradient, and adds up the weight's gradient step by
step. Here each step keeps the derivatives of its gates while they are in the processor's cache; going back is then one
product of arrays and one matrix product a step, and the weight's gradient is a single product at the end.

    r, z = sigmoid(gates_rz + U_rz h + b_rz)    n = tanh(gates_n + r * (U_n h + b_n))    h' = n + z * (h - n)

as in `torch.nn.GRU` (Cho et al. 2014, arXiv:1406.1078, with the reset gate behind the product).

Shapes: L steps, B batch, H hidden, G = 3H gates in the order r, z, n.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from twotower.kernels.linear import across, pack, product

INWARD, OUTWARD = [2, 0, 1], [1, 2, 0]
"""Order of the gates inside (n, r, z: what reaches the state's product lies together), and back."""


def gru_steps(gates_LBG: Tensor, weight_GH: Tensor, bias_G: Tensor, outside_LB: Tensor | None = None) -> Tensor:
    """Runs a gru over given input gates and returns its states [L, B, H], in the order of the input.

    Args:
        gates_LBG: the input's share of the gates, bias included; float32, float64, or bfloat16: then products are taken
            in bfloat16 and the state is carried on in float32.
        weight_GH: `weight_hh_l0` of `torch.nn.GRU`.
        bias_G: `bias_hh_l0`.
        outside_LB: given, the steps are taken from the last to the first, and where it is True the state is passed on
            unchanged: so a text with padding behind it is read backwards from its own last word.
    """
    return _Steps.apply(gates_LBG, weight_GH, bias_G, outside_LB, torch.is_grad_enabled())  # type: ignore[no-any-return,no-untyped-call]


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gates_LBG: Tensor, weight_GH: Tensor, bias_G: Tensor, outside_LB: Tensor | None, learn: bool
    ) -> Tensor:
        low, full = gates_LBG.dtype, _full(gates_LBG.dtype)
        steps, batch, size = *gates_LBG.shape[:2], weight_GH.shape[1]
        weight_GH = _turn(weight_GH, INWARD).to(low)
        packed, bias_G = pack(weight_GH, batch), _turn(bias_G, INWARD).to(low)
        order = range(steps) if outside_LB is None else range(steps - 1, -1, -1)
        ragged = [False] * steps if outside_LB is None else outside_LB.any(1).tolist()
        before_LBH = torch.empty(steps, batch, size, dtype=low)
        after_LBH = torch.empty_like(before_LBH)
        slopes = _Slopes(steps, batch, size, low) if learn else None
        state_BH = torch.zeros(batch, size, dtype=full)
        for step in order:
            gates_BG, low_BH = gates_LBG[step], before_LBH[step].copy_(state_BH)
            from_state_BG = product(low_BH, packed, bias_G)
            rz = torch.sigmoid_((gates_BG[:, : 2 * size] + from_state_BG[:, size:]).to(full))
            reset_BH, update_BH = rz[:, :size], rz[:, size:]
            if ragged[step]:
                update_BH.masked_fill_(outside_LB[step][:, None], 1)  # type: ignore[index]
            from_state_BH = from_state_BG[:, :size].to(full)
            new_BH = torch.addcmul(gates_BG[:, 2 * size :].to(full), reset_BH, from_state_BH)
            new_BH = new_BH.mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh; several times as fast as torch's
            change_BH = state_BH - new_BH
            state_BH = torch.addcmul(new_BH, update_BH, change_BH)
            after_LBH[step] = state_BH
            if slopes is not None:
                slopes.keep(step, reset_BH, update_BH, new_BH, from_state_BH, change_BH)
        if slopes is not None:
            ctx.save_for_backward(slopes.gates_LB4H, slopes.update_LBH, before_LBH, weight_GH)
            ctx.order = order
        return after_LBH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_LBH: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        slopes_LB4H, update_LBH, before_LBH, weight_GH = ctx.saved_tensors
        steps, batch, _, size = slopes_LB4H.shape
        low, full = before_LBH.dtype, _full(before_LBH.dtype)
        packed = pack(weight_GH.t().contiguous(), batch)
        grads_LB4H = torch.empty_like(slopes_LB4H)
        state_BH = torch.zeros(batch, size, dtype=full)
        for step in reversed(ctx.order):
            state_BH += grad_LBH[step]
            grads_B4H = grads_LB4H[step].copy_(slopes_LB4H[step].to(full) * state_BH[:, None])
            through_BH = product(grads_B4H.view(batch, 4 * size)[:, : 3 * size], packed)
            state_BH = torch.addcmul(through_BH.to(full), state_BH, update_LBH[step].to(full))
        inner_NG = grads_LB4H.view(steps * batch, 4 * size)[:, : 3 * size]
        weight_grad = _turn(across(inner_NG, before_LBH.view(steps * batch, size)), OUTWARD).to(full)
        bias_grad = _turn(grads_LB4H[:, :, :3].sum(0).sum(0).view(-1), OUTWARD).to(full)
        return grads_LB4H.view(steps, batch, 4 * size)[:, :, size:].to(low), weight_grad, bias_grad, None, None


class _Slopes:
    """Derivatives of the new state, kept for the way back.

    gates_LB4H holds them by the gates: the new state's behind the reset gate, reset, update, the new state's.
    """

    def __init__(self, steps: int, batch: int, size: int, dtype: torch.dtype) -> None:
        self.gates_LB4H = torch.empty(steps, batch, 4, size, dtype=dtype)
        self.update_LBH = torch.empty(steps, batch, size, dtype=dtype)
        self.one = torch.ones((), dtype=_full(dtype))

    def keep(
        self, step: int, reset_BH: Tensor, update_BH: Tensor, new_BH: Tensor, from_state_BH: Tensor, change_BH: Tensor
    ) -> None:
        """Works out the derivatives of one step."""
        slopes_B4H = self.gates_LB4H[step]
        slope_BH = torch.addcmul(self.one, new_BH, new_BH, value=-1)
        slopes_B4H[:, 3] = slope_BH.addcmul_(update_BH, slope_BH, value=-1)  # (1 - z) (1 - n^2)
        slopes_B4H[:, 0] = slope_BH.mul_(reset_BH)
        slopes_B4H[:, 1] = slope_BH.addcmul_(slope_BH, reset_BH, value=-1).mul_(from_state_BH)
        slopes_B4H[:, 2] = torch.addcmul(update_BH, update_BH, update_BH, value=-1).mul_(change_BH)
        self.update_LBH[step] = update_BH


def _turn(gates: Tensor, order: list[int]) -> Tensor:
    """Puts the three gates along the first dimension into another order."""
    return gates.view(3, -1, *gates.shape[1:])[order].reshape(gates.shape)


def _full(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
