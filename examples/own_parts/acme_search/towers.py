"""A convolutional tower: windows of words, the strongest answer of each filter.

Source: Kim, Convolutional Neural Networks for Sentence Classification (2014).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvolutionTower(nn.Module):
    """Word vectors through filters over `window` words, max-pooled and projected.

    Args:
        embedding_dim: size of a word vector; the run offers it.
        output_dim: size of the text's vector.
        filters: number of filters.
        window: words that a filter sees at a time, an odd number.
    """

    def __init__(self, *, embedding_dim: int, output_dim: int = 256, filters: int = 128, window: int = 3) -> None:
        super().__init__()
        self.filters = nn.Conv1d(embedding_dim, filters, window, padding=window // 2)
        self.project = nn.Linear(filters, output_dim)

    def forward(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns vectors_BD; padding is cut off before the strongest answer is chosen."""
        texts = torch.tensor_split(ids_T, offsets_B1[1:-1].cpu())
        padded_BL = nn.utils.rnn.pad_sequence(texts, batch_first=True)
        padded_BL = F.pad(padded_BL, (0, max(0, 1 - padded_BL.shape[1])))
        answers_BFL = F.relu(self.filters(embedding(padded_BL).transpose(1, 2)))
        lengths_B1 = (offsets_B1[1:] - offsets_B1[:-1])[:, None]
        own_BL = torch.arange(padded_BL.shape[1], device=ids_T.device) < lengths_B1
        return self.project(answers_BFL.masked_fill(~own_BL[:, None], 0.0).amax(2))
