"""InfoNCE: the positive against every other document of the batch.

Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding (2018); in-batch negatives for
retrieval as in Karpukhin et al., Dense Passage Retrieval (2020).

Shapes: B queries, N documents of the batch, D dimension.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twotower.checks import check_choice, check_flag, check_number
from twotower.loss.output import LossOutput, accuracy

DIRECTIONS = ("query_to_document", "both")


def contrastive_loss(scores_BN: Tensor, mask_BN: Tensor, temperature: Tensor | float, directions: str) -> Tensor:
    """Returns the mean cross entropy of picking the positive, from similarities.

    Args:
        scores_BN: similarity of every query and document; the positive of query b is document b.
        mask_BN: True where document n must not count as a negative of query b.
        temperature: what similarities are divided by.
        directions: query_to_document, or both: the mean of that and of picking each positive document's query among
            the batch's queries (explicit negatives belong to no query, so they take part in the first only).
    """
    logits_BN = (scores_BN / temperature).masked_fill(mask_BN, -torch.inf)
    target_B = torch.arange(len(logits_BN), device=logits_BN.device)
    loss = F.cross_entropy(logits_BN, target_B)
    if directions == "both":
        loss = (loss + F.cross_entropy(logits_BN[:, : len(logits_BN)].T, target_B)) / 2
    return loss


class ContrastiveLoss(nn.Module):
    """InfoNCE over in-batch and explicit negatives, with a fixed or learned temperature.

    Larger batches give more negatives and usually a better model; memory grows with B times N.

    Args:
        temperature: similarities are divided by it; its start if it is learned.
        learn_temperature: whether it is trained (its logarithm is, kept between .01 and 1).
        directions: query_to_document or both.

    Raises:
        UserError: for a value out of range.
    """

    def __init__(
        self, *, temperature: float = 0.05, learn_temperature: bool = False, directions: str = "query_to_document"
    ) -> None:
        super().__init__()
        learned = check_flag("loss.learn_temperature", learn_temperature)
        check_number("loss.temperature", temperature, above=0)
        if learned:
            check_number("loss.temperature", temperature, at_least=0.01, at_most=1)
        self.directions = check_choice("loss.directions", directions, DIRECTIONS)
        self.fixed = None if learned else float(temperature)
        if learned:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    @property
    def temperature(self) -> Tensor | float:
        """The temperature in use."""
        if self.fixed is not None:
            return self.fixed
        return self.log_temperature.clamp(math.log(0.01), 0.0).exp()

    def forward(self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor) -> LossOutput:
        """Returns loss and accuracy of a batch of unit vectors."""
        scores_BN = query_BD @ document_ND.T
        loss = contrastive_loss(scores_BN, mask_BN, self.temperature, self.directions)
        return LossOutput(loss, accuracy(scores_BN.detach(), mask_BN))

    def collapsed_value(self, batch_size: int, num_documents: int | None = None) -> float:
        """Returns the loss when all vectors are equal: the logarithm of the number of candidates.

        Args:
            batch_size: queries B.
            num_documents: documents N, where there are explicit negatives.
        """
        documents = math.log(num_documents or batch_size)
        return documents if self.directions == "query_to_document" else (documents + math.log(batch_size)) / 2
