"""Margin contrastive loss over pairs: positives pulled together, negatives pushed out of a margin.

Source: Hadsell et al., Dimensionality Reduction by Learning an Invariant Mapping (2006), with all permitted in-batch
and explicit negatives as the unlike pairs.

Shapes: B queries, N documents of the batch, D dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twotower.core.validators import check_choice, check_number
from twotower.loss.output import DISTANCES, LossOutput, accuracy, distances, negative_mask, similarities


def margin_loss(distance_BN: Tensor, allowed_BN: Tensor, margin: float) -> Tensor:
    """Returns the mean squared distance of positives plus the mean squared intrusion of negatives into the margin.

    The second mean is over those negatives that intrude: most of a batch's are far away already, and would only water
    down the others.
    """
    intrusion_BN = torch.where(allowed_BN, torch.relu(margin - distance_BN), 0.0)
    negatives = intrusion_BN.square().sum() / (intrusion_BN > 0).sum().clamp_min(1)
    return distance_BN.diagonal().square().mean() + negatives


class MarginLoss(nn.Module):
    """Margin contrastive loss over every positive pair and every permitted negative pair of the batch.

    Args:
        margin: the distance beyond which a negative is left alone.
        distance: cosine (1 - similarity, 0 to 2) or euclidean (0 to 2).

    Raises:
        UserError: for a value out of range.
    """

    def __init__(self, *, margin: float = 1.0, distance: str = "cosine") -> None:
        super().__init__()
        self.margin = check_number("loss.margin", margin, above=0, at_most=2)
        self.distance = check_choice("loss.distance", distance, DISTANCES)

    def forward(self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor) -> LossOutput:
        """Returns loss and accuracy of a batch of unit vectors."""
        scores_BN = similarities(query_BD, document_ND)
        loss = margin_loss(distances(scores_BN, self.distance), negative_mask(mask_BN), self.margin)
        return LossOutput(loss, accuracy(scores_BN.detach(), mask_BN))

    def collapsed_value(self, batch_size: int, num_documents: int | None = None) -> float:
        """Returns the loss when all vectors are equal: the margin, squared."""
        return self.margin**2
