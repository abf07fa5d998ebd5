"""A trained model as two ONNX graphs, query.onnx and document.onnx: padded token ids in, unit vectors out.

Inputs `ids` int64 [B, L], 0 where a text has ended, and `lengths` int64 [B]; output `vectors` float32 [B, D]. B and L
are free. Ids are places in vocabulary.json, cut to the lengths in config.json. The graphs are traced from the model's
own layers, with ragged sums and hand-written steps replaced by their padded forms.

Shapes: B texts, L words of the longest, E embedding, D dimension.
"""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from twotower.core.errors import UserError
from twotower.formats import safetensors
from twotower.kernels.linear import Linear
from twotower.model.checkpoint import load
from twotower.model.mlp import MlpTower
from twotower.model.pooling import normalise, reverse_positions
from twotower.model.rnn import RecurrentTower
from twotower.model.words import WordPooling

OPSET = 17


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
        mask_BL = torch.arange(ids_BL.shape[1], device=ids_BL.device) < lengths_B[:, None]
        if isinstance(self.tower, MlpTower):
            vectors_BD = self._pooled(self.layers[0], ids_BL, mask_BL, lengths_B)
            for layer in list(self.layers)[1:]:
                vectors_BD = layer(vectors_BD)
        else:
            vectors_BD = self._read(self.embedding(ids_BL.t()), mask_BL.t())
        return normalise(vectors_BD)

    def _pooled(self, pooling: WordPooling, ids_BL: Tensor, mask_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """A word that occurs c times weighs c ** power in all, so each of its places c ** (power - 1)."""
        same_BLL = (ids_BL[:, :, None] == ids_BL[:, None, :]) & mask_BL[:, None, :]
        weight_BL = same_BLL.sum(dim=2).clamp(min=1).float().pow(pooling.count_power - 1) * mask_BL
        if pooling.weight is not None:
            weight_BL = weight_BL * pooling.weight[ids_BL]
        sum_BE = (self.embedding(ids_BL) * weight_BL[:, :, None]).sum(dim=1)
        return sum_BE * lengths_B.clamp(min=1).float().rsqrt()[:, None]  # type: ignore[no-any-return]

    def _read(self, states_LBD: Tensor, mask_LB: Tensor) -> Tensor:
        backward_LB = reverse_positions(mask_LB)
        for number in range(int(self.tower.num_layers)):  # type: ignore[arg-type]
            states_LBD = self.tower._layer(number, states_LBD, backward_LB)  # type: ignore[operator]
        return self.layers[-1](self.layers[-2](states_LBD, mask_LB))  # type: ignore[no-any-return]


def export(checkpoint_path: Path, out: Path) -> None:
    """Writes both graphs, and beside them weights, settings and vocabulary as `safetensors.export` does.

    Args:
        checkpoint_path: the .pt file.
        out: the folder.

    Raises:
        UserError: for a model with towers that no graph is known of.
    """
    model = load(checkpoint_path).model
    sides = {
        side: PaddedSide(model.embedding, getattr(model, f"{side}_tower")).eval() for side in ("query", "document")
    }
    safetensors.export(checkpoint_path, out)
    example = (torch.tensor([[2, 3, 2], [1, 0, 0]]), torch.tensor([3, 1]))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for side, module in sides.items():
        path = out / f"{side}.onnx"
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the tracer: about shapes, which are declared free below
            torch.onnx.export(
                module,
                example,
                str(path),
                input_names=["ids", "lengths"],
                output_names=["vectors"],
                dynamic_axes={"ids": {0: "texts", 1: "words"}, "lengths": {0: "texts"}, "vectors": {0: "texts"}},
                opset_version=OPSET,
                dynamo=False,
            )
        onnx.checker.check_model(str(path))
