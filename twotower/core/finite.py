"""Weights and vectors that are no numbers (NaN, infinities) are named, never passed on: whatever they give looks valid.

Shapes: B rows, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

REMEDY = "the model diverged while it was trained, or the file was changed: train with a smaller optimizer.lr"


def all_finite(values: np.ndarray | Tensor) -> bool:
    """Says whether an array or tensor of numbers holds neither NaN nor an infinity, in one pass and without a copy."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "fc" or not values.size:
            return True
        return bool(np.isfinite(values.max()) and np.isfinite(values.min()))  # both hand NaN on
    if not values.is_floating_point() or not values.numel():
        return True
    if values.is_sparse or values.device.type == "meta":
        return all_finite(values.coalesce().values()) if values.is_sparse else True
    low, high = values.detach().aminmax()
    return bool(low.isfinite() & high.isfinite())


def broken_tensors(state: Mapping[str, Any]) -> list[str]:
    """Returns "name (3 of 100 values)" for every array or tensor of a state dict that is not finite throughout."""
    broken = []
    for name, values in state.items():
        if not all_finite(values):
            array = values if isinstance(values, np.ndarray) else values.detach().float().cpu().numpy()
            broken.append(f"{name} ({int((~np.isfinite(array)).sum()):,} of {array.size:,} values)")
    return broken


def check_weights(state: Mapping[str, Any], what: str) -> None:
    """Refuses weights that are not finite.

    Args:
        state: tensors or arrays by name.
        what: what holds them, which begins the message.

    Raises:
        UserError: naming the first tensors and how many of their values are no numbers.
    """
    if broken := broken_tensors(state):
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise UserError(f"{what} holds weights that are not finite: {', '.join(broken[:3])}{more}; {REMEDY}.")


def check_vectors(vectors_BD: np.ndarray, what: str) -> None:
    """Refuses vectors that are not finite.

    Args:
        vectors_BD: vectors of texts.
        what: what they are of ("document"), for the message.

    Raises:
        UserError: with the number of such rows and the first of them.
    """
    if not all_finite(vectors_BD):
        bad_B = ~np.isfinite(vectors_BD).all(axis=1)
        raise UserError(
            f"{int(bad_B.sum()):,} of {len(bad_B):,} {what} vectors are not finite (the first is row "
            f"{int(bad_B.argmax())}); {REMEDY}."
        )
