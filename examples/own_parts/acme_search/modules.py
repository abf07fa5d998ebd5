"""A whole LightningModule: one table of vectors, means of words, a loss and an optimizer of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from twotower.data.batches import TrainBatch
    from twotower.text.tokens import TokenBatch


class MeanModule(pl.LightningModule):
    """Queries and documents are the means of their words' vectors.

    Args:
        vocabulary_size: number of words; the run offers it.
        output_dim: size of a vector.
        temperature: similarities are divided by it in training.
        learning_rate: Adam's.
    """

    pads_batches = False

    def __init__(
        self, *, vocabulary_size: int, output_dim: int = 64, temperature: float = 0.05, learning_rate: float = 0.01
    ) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(vocabulary_size, output_dim, mode="mean", include_last_offset=True)
        self.temperature, self.learning_rate = temperature, learning_rate

    def encode_queries(self, batch: TokenBatch) -> Tensor:
        """Returns unit vectors [B, D]."""
        return F.normalize(self.words(batch.ids_T, batch.offsets_B1), dim=-1)

    encode_documents = encode_queries

    def training_step(self, batch: TrainBatch, batch_index: int) -> Tensor:
        """Returns the cross entropy of picking each query's own document among those of the batch."""
        query_BD, document_ND = self.encode_queries(batch.query), self.encode_documents(batch.document)
        logits_BN = (query_BD @ document_ND.T / self.temperature).masked_fill(batch.mask_BN, -torch.inf)
        return F.cross_entropy(logits_BN, torch.arange(len(query_BD), device=self.device))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns Adam over all weights."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)
