"""A warm-up, then the inverse square root of the steps.

Source: Vaswani et al., Attention Is All You Need (2017).
"""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def inverse_root(optimizer: Optimizer, *, total_steps: int, warmup: float = 0.1) -> LambdaLR:
    """Returns the schedule; the rate is at its highest after the share `warmup` of all steps."""
    peak = max(1, round(warmup * total_steps))
    return LambdaLR(optimizer, lambda step: min((step + 1) / peak, (peak / (step + 1)) ** 0.5))
