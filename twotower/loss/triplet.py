"""Triplet loss: the positive nearer than a negative by a margin.

Source: Schroff et al., FaceNet (2015), semi-hard mining; Hermans et al., In Defense of the Triplet Loss (2017),
batch-hard mining.

Shapes: B queries, N documents of the batch, n explicit negatives a query, D dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_number
from twotower.loss.output import DISTANCES, LossOutput, accuracy, distances, negative_mask, similarities

MININGS = ("semi_hard", "batch_hard", "random", "all", "explicit")


def choose_negatives(distance_BN: Tensor, allowed_BN: Tensor, mining: str) -> Tensor:
    """Returns the triplets a mining keeps, True where document n is a negative of query b in the loss.

    * all: every permitted negative;
    * explicit: the query's own explicit negatives;
    * random: one permitted negative per query, drawn uniformly;
    * batch_hard: the nearest permitted negative;
    * semi_hard: the nearest permitted negative that is farther than the positive, else the farthest of those that
      are nearer.

    Raises:
        UserError: for explicit mining without explicit negatives in the batch.
    """
    batch, documents = distance_BN.shape
    if mining == "all":
        return allowed_BN
    if mining == "explicit":
        if documents == batch:
            raise UserError(
                "loss.mining=explicit needs explicit negatives: set data.negatives.kind and data.negatives.count, "
                f"or mine in the batch with loss.mining={' or '.join(MININGS[:4])}."
            )
        owner_N = torch.arange(documents - batch, device=distance_BN.device) // ((documents - batch) // batch)
        own_BN = torch.zeros_like(allowed_BN)
        own_BN[:, batch:] = owner_N == torch.arange(batch, device=distance_BN.device)[:, None]
        return allowed_BN & own_BN
    if mining == "random":
        key_BN = torch.rand_like(distance_BN)
    elif mining == "batch_hard":
        key_BN = -distance_BN
    else:
        outside_BN = distance_BN > distance_BN.diagonal()[:, None]
        key_BN = torch.where(outside_BN, 1e6 - distance_BN, distance_BN)
    chosen_B = key_BN.masked_fill(~allowed_BN, -torch.inf).argmax(1, keepdim=True)
    return torch.zeros_like(allowed_BN).scatter_(1, chosen_B, True) & allowed_BN


def triplet_loss(distance_BN: Tensor, chosen_BN: Tensor, margin: float) -> Tensor:
    """Returns the mean over the chosen triplets of max(0, positive distance - negative distance + margin)."""
    hinge_BN = torch.relu(distance_BN.diagonal()[:, None] - distance_BN + margin)
    return torch.where(chosen_BN, hinge_BN, 0.0).sum() / chosen_BN.sum().clamp_min(1)


class TripletLoss(nn.Module):
    """Triplet loss with negatives from the batch or given explicitly.

    Args:
        margin: by how much the positive must be nearer.
        distance: cosine (1 - similarity, 0 to 2) or euclidean (0 to 2).
        mining: one of `MININGS`, see `choose_negatives`.

    Raises:
        UserError: for a value out of range.
    """

    def __init__(self, *, margin: float = 0.2, distance: str = "cosine", mining: str = "semi_hard") -> None:
        super().__init__()
        self.margin = check_number("loss.margin", margin, above=0, at_most=2)
        self.distance = check_choice("loss.distance", distance, DISTANCES)
        self.mining = check_choice("loss.mining", mining, MININGS)

    def forward(self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor) -> LossOutput:
        """Returns loss and accuracy of a batch of unit vectors."""
        scores_BN = similarities(query_BD, document_ND)
        distance_BN = distances(scores_BN, self.distance)
        chosen_BN = choose_negatives(distance_BN.detach(), negative_mask(mask_BN), self.mining)
        return LossOutput(triplet_loss(distance_BN, chosen_BN, self.margin), accuracy(scores_BN.detach(), mask_BN))

    def collapsed_value(self, batch_size: int, num_documents: int | None = None) -> float:
        """Returns the loss when all vectors are equal: the margin."""
        return self.margin
