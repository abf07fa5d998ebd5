"""A model's two sides over padded ids, in operations that graphs know, as exports trace them.

Ragged sums and hand-written steps are replaced by their padded forms; `check_equal` holds them against the model.

Shapes: B texts, L words of the longest, E embedding, D dimension.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from twotower.core.errors import UserError
from twotower.kernels.linear import Linear
from twotower.kernels.unit import normalise
from twotower.model.mlp import MlpTower
from twotower.model.pooling import reverse_positions
from twotower.model.rnn import RecurrentTower
from twotower.model.two_tower import TwoTower
from twotower.model.words import WordPooling
from twotower.text.tokens import TokenBatch

TOLERANCE = 1e-5
"""Most that a number of a vector may differ from the model's own."""


def plain_layers(module: nn.Module) -> nn.Module:
    """Returns a copy with torch's own linear layers in place of ours, which no graph knows."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear):
                layer = nn.Linear(child.in_features, child.out_features, bias=child.bias is not None)
                layer.weight, layer.bias = child.weight, child.bias
                setattr(parent, name, layer)
    return module


class PaddedSide(nn.Module):
    """One side of a model over padded ids.

    Args:
        embedding: the word vectors.
        tower: an `MlpTower` or a `RecurrentTower`.

    Raises:
        UserError: for another tower, or one that reads padding on purpose.
    """

    def __init__(self, embedding: nn.Embedding, tower: nn.Module) -> None:
        super().__init__()
        if type(tower) is not MlpTower and not isinstance(tower, RecurrentTower):
            raise UserError(f"--to onnx knows the towers mlp, gru, lstm and rnn, not {type(tower).__name__}.")
        self.embedding, self.tower = embedding, plain_layers(tower)
        self.layers: Any = self.tower.layers
        if isinstance(tower, RecurrentTower) and getattr(tower.layers[-2], "kind", None) == "pad_step":
            raise UserError("--to onnx: model.pooling=pad_step depends on the other texts of a batch.")

    def forward(self, ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Returns unit vectors [B, D]."""
        if isinstance(self.tower, MlpTower):
            vectors_BD = self._pooled(self.layers[0], ids_BL, lengths_B)
            for layer in list(self.layers)[1:]:
                vectors_BD = layer(vectors_BD)
        else:
            vectors_BD = self._read(ids_BL, lengths_B)
            if self.tower.words is not None:
                pooled_BE = self._pooled(self.tower.words, ids_BL, lengths_B)  # type: ignore[arg-type]
                vectors_BD = vectors_BD + getattr(self.tower, "turn", nn.Identity())(pooled_BE)
        return normalise(vectors_BD)

    def _pooled(self, pooling: WordPooling, ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """A word that occurs c times counts f(c) in all, so each of its places f(c) / c."""
        mask_BL = _mask(ids_BL, lengths_B)
        same_BLL = (ids_BL[:, :, None] == ids_BL[:, None, :]) & mask_BL[:, None, :]
        counts_BL = same_BLL.sum(dim=2).clamp(min=1).float()
        if pooling.k1 is None or pooling.mean_length is None:
            weight_BL = counts_BL.pow(pooling.count_power - 1)
        else:
            half_B = pooling.k1 * (1 - pooling.b + pooling.b * lengths_B.float() / pooling.mean_length)
            weight_BL = 1 / (counts_BL + half_B[:, None])
        weight_BL = weight_BL * mask_BL
        if pooling.weight is not None:
            weight_BL = weight_BL * pooling.weight[ids_BL]
        sum_BE = (self.embedding(ids_BL) * weight_BL[:, :, None]).sum(dim=1)
        return sum_BE * lengths_B.clamp(min=1).float().rsqrt()[:, None]  # type: ignore[no-any-return]

    def _read(self, ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """What the recurrent layers make of the words that they read."""
        most: Any = self.tower.read
        if most is not None:
            ids_BL, lengths_B = ids_BL[:, :most], lengths_B.clamp(max=most)
        mask_LB = _mask(ids_BL, lengths_B).t()
        states_LBD, backward_LB = self.embedding(ids_BL.t()), reverse_positions(mask_LB)
        for number in range(int(self.tower.num_layers)):  # type: ignore[arg-type]
            states_LBD = self.tower._layer(number, states_LBD, backward_LB)  # type: ignore[operator]
        return self.layers[-1](self.layers[-2](states_LBD, mask_LB))  # type: ignore[no-any-return]


def _mask(ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
    return torch.arange(ids_BL.shape[1], device=ids_BL.device) < lengths_B[:, None]


def check_equal(model: TwoTower, side: str, module: nn.Module) -> None:
    """Holds the padded form against the model, so that a part it doesn't know is no wrong vector.

    Raises:
        UserError: where they differ.
    """
    words, drawn = model.embedding.num_embeddings, np.random.default_rng(0)
    lengths, limits = (0, 1, 7, 40, 300), (1, words, 3, words, 90)  # few words are repeated words
    rows = [drawn.integers(1, min(words, 1 + limit), size) for size, limit in zip(lengths, limits, strict=True)]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    batch = TokenBatch(ids_T=torch.from_numpy(np.concatenate(rows)), offsets_B1=torch.from_numpy(offsets))
    ids_BL = torch.zeros(len(rows), max(lengths), dtype=torch.int64)
    for place, row in enumerate(rows):
        ids_BL[place, : len(row)] = torch.from_numpy(row)
    with torch.no_grad():
        expected_BD = model.encode_queries(batch) if side == "query" else model.encode_documents(batch)
        found_BD = module(ids_BL, torch.tensor(lengths))
    gap = float((found_BD - expected_BD).abs().max())
    if not gap <= TOLERANCE:
        raise UserError(f"--to onnx: the graph's {side} vectors would differ from the model's by {gap:.1g}.")
