"""Success at one hundred per cent: the share of queries whose relevant documents all stand among the first k."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class AllFound(Metric):
    """Counts queries by their ranked grades.

    Args:
        top_k: ranks to look at.
    """

    higher_is_better = True

    def __init__(self, *, top_k: int = 10) -> None:
        super().__init__()
        self.top_k = top_k
        self.add_state("found", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("queries", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, grades_QK: Tensor, relevant_Q: Tensor) -> None:
        """Takes the grades of each query's ranked documents, and how many relevant ones it has."""
        self.found += ((grades_QK[:, : self.top_k] > 0).sum(1) >= relevant_Q).sum()
        self.queries += len(grades_QK)

    def compute(self) -> Tensor:
        """Returns the share."""
        return self.found / self.queries.clamp_min(1)
