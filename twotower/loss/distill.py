"""Distillation: the towers learn a teacher's scores of the batch, beside the judged pairs.

Sources: Hinton et al., Distilling the Knowledge in a Neural Network (2015), for KL over the batch's candidates;
Hofstätter et al., Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation (2020), for
Margin-MSE.

Shapes: B queries, N documents of the batch, D dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_number
from twotower.loss.contrastive import contrastive_loss
from twotower.loss.output import LossOutput, check_dims, negative_mask, prefixes, similarities

OBJECTIVES = ("kl", "margin_mse")


def candidates(teacher_BN: Tensor, mask_BN: Tensor) -> Tensor:
    """Returns True where the teacher scored document n for query b, and n is its positive or not masked."""
    allowed_BN = negative_mask(mask_BN)
    allowed_BN.fill_diagonal_(True)
    return allowed_BN & teacher_BN.isfinite()


def kl_loss(student_BN: Tensor, teacher_BN: Tensor, allowed_BN: Tensor) -> Tensor:
    """Returns the mean KL divergence of the student's distribution over the candidates from the teacher's."""
    student_BN = student_BN.masked_fill(~allowed_BN, -torch.inf).log_softmax(1)
    teacher_BN = teacher_BN.masked_fill(~allowed_BN, -torch.inf).log_softmax(1)
    gap_BN = torch.where(allowed_BN, teacher_BN - student_BN, 0.0)
    return (teacher_BN.exp() * gap_BN).sum(1).mean()


def margin_mse_loss(student_BN: Tensor, teacher_BN: Tensor, allowed_BN: Tensor) -> Tensor:
    """Returns the mean squared difference of margins: of the positive over every other candidate."""
    gap_BN = margins(student_BN) - margins(torch.where(allowed_BN, teacher_BN, 0.0))
    others_BN = allowed_BN & allowed_BN.diagonal()[:, None]
    others_BN.fill_diagonal_(False)
    squared_BN = torch.where(others_BN, gap_BN, 0.0).square()
    return squared_BN.sum() / others_BN.sum().clamp_min(1)


def margins(scores_BN: Tensor) -> Tensor:
    """Returns by how much each query's positive is above each document."""
    return scores_BN.diagonal()[:, None] - scores_BN


class DistillLoss(nn.Module):
    """What a teacher thinks of every query and document of the batch, mixed with InfoNCE on the judged pairs.

    Args:
        teacher: bm25, a run folder or .pt of ours, a sentence-transformers folder, or a file of scores (a TREC run, or
            query, document and score parted by tabs).
        objective: kl (the teacher's distribution over the batch's candidates) or margin_mse (its margins).
        temperature: similarities are divided by it.
        teacher_temperature: the teacher's scores are divided by it; None for a value that suits the teacher
            (`training.teachers`).
        pairs: share of InfoNCE in the loss, 0 to 1; 0 learns from the teacher alone.
        dims: as for `ContrastiveLoss`.

    Raises:
        UserError: for a value out of range.
    """

    def __init__(
        self,
        *,
        teacher: str,
        objective: str = "kl",
        temperature: float = 0.05,
        teacher_temperature: float | None = None,
        pairs: float = 0.5,
        dims: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(teacher, str) or not teacher:
            raise UserError(
                f"loss.teacher={teacher} names no teacher: bm25, a run folder or .pt, a sentence-transformers folder, "
                "or a file of scores."
            )
        self.teacher = teacher
        self.objective = check_choice("loss.objective", objective, OBJECTIVES)
        self.temperature = check_number("loss.temperature", temperature, above=0)
        if teacher_temperature is not None:
            check_number("loss.teacher_temperature", teacher_temperature, above=0)
        self.teacher_temperature = teacher_temperature
        self.pairs = check_number("loss.pairs", pairs, at_least=0, at_most=1)
        self.dims = check_dims(dims)

    @property
    def batch_scores(self) -> dict[str, str]:
        """Which scores it takes beside the vectors, and whose; see `training.teachers`."""
        return {"teacher_BN": self.teacher}

    def forward(self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor, teacher_BN: Tensor) -> LossOutput:
        """Returns loss and accuracy of a batch of unit vectors.

        Args:
            query_BD: of the queries.
            document_ND: of the documents, the positives first.
            mask_BN: True where document n must not count as a negative of query b.
            teacher_BN: the teacher's scores, in units in which 1 is a factor of e; NaN where it has none.
        """
        allowed_BN = candidates(teacher_BN, mask_BN)
        parts = [
            self._part(*prefix, mask_BN, teacher_BN, allowed_BN)
            for prefix in prefixes(query_BD, document_ND, self.dims)
        ]
        return LossOutput(torch.stack([loss for loss, _ in parts]).mean(), parts[-1][1].float().mean())

    def _part(
        self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor, teacher_BN: Tensor, allowed_BN: Tensor
    ) -> tuple[Tensor, Tensor]:
        student_BN = similarities(query_BD / self.temperature, document_ND)
        learn = kl_loss if self.objective == "kl" else margin_mse_loss
        loss, hits_B = contrastive_loss(student_BN, mask_BN, "query_to_document")
        return self.pairs * loss + (1 - self.pairs) * learn(student_BN, teacher_BN, allowed_BN), hits_B
