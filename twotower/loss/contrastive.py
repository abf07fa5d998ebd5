"""InfoNCE: the positive against every other document of the batch.

Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding (2018); in-batch negatives for
retrieval as in Karpukhin et al., Dense Passage Retrieval (2020).

Shapes: B queries, N documents of the batch, D dimension.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_flag, check_number
from twotower.loss.output import LossOutput, check_dims, prefixes, similarities

DIRECTIONS = ("query_to_document", "both")


class _CrossEntropy(torch.autograd.Function):
    """Cross entropy of picking column first + b in row b, and which rows have their maximum there alone.

    Logits of a batch are its largest tensor, so they are gone over as seldom as can be: this takes a third of the time
    of masked_fill, cross_entropy and a separate count of hits.
    """

    @staticmethod
    def forward(ctx: Any, logits_BN: Tensor, mask_BN: Tensor, first: int) -> tuple[Tensor, Tensor]:
        logits_BN = logits_BN.to(torch.promote_types(logits_BN.dtype, torch.float32), copy=True)
        if logits_BN.device.type == "cpu":  # numpy passes over what is not masked ten times as fast
            np.copyto(logits_BN.numpy(), -np.inf, where=mask_BN.numpy())
        else:
            logits_BN.masked_fill_(mask_BN, -torch.inf)
        positive_B = logits_BN.diagonal(first).clone()
        logits_BN.diagonal(first).fill_(-torch.inf)
        hardest_B = logits_BN.amax(1)
        logits_BN.diagonal(first).copy_(positive_B)
        highest_B = torch.maximum(positive_B, hardest_B)
        power_BN = logits_BN.sub_(highest_B[:, None]).exp_()
        sum_B = power_BN.sum(1)
        ctx.save_for_backward(power_BN, sum_B)
        ctx.first = first
        hits_B = positive_B > hardest_B
        ctx.mark_non_differentiable(hits_B)
        return (sum_B.log() + highest_B - positive_B).mean(), hits_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        power_BN, sum_B = ctx.saved_tensors
        share = grad / len(sum_B)
        grad_BN = power_BN * (share / sum_B)[:, None]
        grad_BN.diagonal(ctx.first).sub_(share)
        return grad_BN, None, None


def contrastive_loss(logits_BN: Tensor, mask_BN: Tensor, directions: str) -> tuple[Tensor, Tensor]:
    """Returns the mean cross entropy of picking the positive, and whether each query did [B].

    Args:
        logits_BN: similarity of every query and document, divided by the temperature; the positive of query b is
            document b.
        mask_BN: True where document n must not count as a negative of query b.
        directions: query_to_document, or both: the mean of that and of picking each positive document's query among
            the batch's queries (explicit negatives belong to no query, so they take part in the first only).
    """
    loss, hits_B = _CrossEntropy.apply(logits_BN, mask_BN, 0)  # type: ignore[no-untyped-call]
    if directions == "both":
        batch = len(logits_BN)
        loss = (loss + _CrossEntropy.apply(logits_BN[:, :batch].T, mask_BN[:, :batch].T, 0)[0]) / 2  # type: ignore[no-untyped-call]
    return loss, hits_B


def pick_in_chunks(query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """As `contrastive_loss` in one direction, with the logits of `chunk` queries in memory at a time.

    The backward pass computes them again. Loss and gradients are those of the whole.
    """

    def part(rows_CD: Tensor, documents_ND: Tensor, first: int) -> tuple[Tensor, Tensor]:
        rows = slice(first, first + chunk)
        loss, hits_C = _CrossEntropy.apply(similarities(rows_CD, documents_ND), mask_BN[rows], first)  # type: ignore[no-untyped-call]
        return loss * len(rows_CD), hits_C

    parts = [
        checkpoint(part, query_BD[first : first + chunk], document_ND, first, use_reentrant=False)
        for first in range(0, len(query_BD), chunk)
    ]
    return torch.stack([loss for loss, _ in parts]).sum() / len(query_BD), torch.cat([hits_B for _, hits_B in parts])


class ContrastiveLoss(nn.Module):
    """InfoNCE over in-batch and explicit negatives, with a fixed or learned temperature.

    Larger batches give more negatives and usually a better model; memory grows with B times N.

    Args:
        temperature: similarities are divided by it; its start if it is learned.
        learn_temperature: whether it is trained (its logarithm is, kept between .01 and 1).
        directions: query_to_document or both.
        chunk: queries whose similarities are in memory at a time, for very large batches; None for all.
        dims: leading dimensions of the vectors that are to serve as vectors of their own, such as [64, 128]; the loss
            is the mean over them and the whole (Kusupati et al., Matryoshka Representation Learning, 2022).
        lexical_weight: where the weight of BM25's scores in the logits starts; it is learned, and the towers learn what
            BM25 does not see (Gao et al., Complementing Lexical Retrieval with Semantic Residual Embedding, 2020): for
            hybrid search. None for none.

    Raises:
        UserError: for a value out of range.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        learn_temperature: bool = False,
        directions: str = "query_to_document",
        chunk: int | None = None,
        dims: Sequence[int] | None = None,
        lexical_weight: float | None = None,
    ) -> None:
        super().__init__()
        learned = check_flag("loss.learn_temperature", learn_temperature)
        check_number("loss.temperature", temperature, above=0)
        if learned:
            check_number("loss.temperature", temperature, at_least=0.01, at_most=1)
        self.directions = check_choice("loss.directions", directions, DIRECTIONS)
        self.chunk = None if chunk is None else check_count("loss.chunk", chunk)
        self.dims = check_dims(dims)
        if lexical_weight is not None:
            check_number("loss.lexical_weight", lexical_weight, above=0)
            self.log_lexical_weight = nn.Parameter(torch.tensor(math.log(lexical_weight)))
        for key, value in (("dims", dims), ("lexical_weight", lexical_weight)):
            if value is not None and self.chunk is not None:
                raise UserError(f"loss.{key}={value} needs all similarities at once: set loss.chunk=null.")
        self.lexical = lexical_weight is not None
        self.fixed = None if learned else float(temperature)
        if learned:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    @property
    def temperature(self) -> Tensor | float:
        """The temperature in use."""
        if self.fixed is not None:
            return self.fixed
        return self.log_temperature.clamp(math.log(0.01), 0.0).exp()

    @property
    def batch_scores(self) -> dict[str, str]:
        """Which scores it takes beside the vectors, and whose; see `training.teachers`."""
        return {"lexical_BN": "bm25"} if self.lexical else {}

    def forward(
        self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor, lexical_BN: Tensor | None = None
    ) -> LossOutput:
        """Returns loss and accuracy of a batch of unit vectors."""
        if self.chunk is not None and self.chunk < len(query_BD):
            return self._in_chunks(query_BD / self.temperature, document_ND, mask_BN, self.chunk)
        parts = [self._whole(*prefix, mask_BN, lexical_BN) for prefix in prefixes(query_BD, document_ND, self.dims)]
        return LossOutput(torch.stack([loss for loss, _ in parts]).mean(), parts[-1][1].float().mean())

    def _whole(
        self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor, lexical_BN: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        logits_BN = similarities(query_BD / self.temperature, document_ND)
        if lexical_BN is not None:
            logits_BN = logits_BN + self.log_lexical_weight.exp() * lexical_BN
        return contrastive_loss(logits_BN, mask_BN, self.directions)

    def _in_chunks(self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor, chunk: int) -> LossOutput:
        loss, hits_B = pick_in_chunks(query_BD, document_ND, mask_BN, chunk)
        if self.directions == "both":
            batch = len(query_BD)
            loss = (loss + pick_in_chunks(document_ND[:batch], query_BD, mask_BN[:, :batch].T, chunk)[0]) / 2
        return LossOutput(loss, hits_B.float().mean())

    def collapsed_value(self, batch_size: int, num_documents: int | None = None) -> float | None:
        """Returns the loss when all vectors are equal: the logarithm of the number of candidates; None beside BM25.

        Args:
            batch_size: queries B.
            num_documents: documents N, where there are explicit negatives.
        """
        if self.lexical:
            return None
        documents = math.log(num_documents or batch_size)
        return documents if self.directions == "query_to_document" else (documents + math.log(batch_size)) / 2
