"""The pairwise sigmoid loss: every pair of the batch is a yes-or-no question of its own.

Source: Zhai et al., Sigmoid Loss for Language Image Pre-Training (2023).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SigmoidLoss(nn.Module):
    """Learns the scale and the shift of the similarities as it goes.

    Args:
        scale: the factor to start from.
        shift: what is added to start from; low, as most pairs of a batch don't belong together.
    """

    def __init__(self, *, scale: float = 10.0, shift: float = -5.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.shift = nn.Parameter(torch.tensor(float(shift)))

    def forward(self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor) -> Tensor:
        """Returns the mean over queries of the cross entropies of their pairs."""
        logits_BN = query_BD @ document_ND.T * self.log_scale.exp() + self.shift
        label_BN = torch.eye(*mask_BN.shape, device=mask_BN.device)
        loss_BN = F.binary_cross_entropy_with_logits(logits_BN, label_BN, reduction="none")
        return loss_BN.masked_fill(mask_BN, 0.0).sum() / len(query_BD)
