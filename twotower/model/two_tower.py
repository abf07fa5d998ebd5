"""Two towers over one table of word vectors: a query tower and a document tower.

Shapes: B batch, V vocabulary, E embedding, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from twotower.core.errors import UserError
from twotower.core.finite import check_weights
from twotower.core.validators import check_choice, check_count, check_flag, check_keys, check_number
from twotower.model.mlp import WORD_POOLINGS, MlpTower
from twotower.model.pooling import POOLINGS, normalise
from twotower.model.rnn import RECURRENT, RecurrentTower

if TYPE_CHECKING:
    from twotower.text.tokens import TokenBatch

TOWERS = ("mlp", *RECURRENT)

DEFAULTS: dict[str, Any] = {
    "query_tower": "mlp",
    "document_tower": "mlp",
    "shared": True,
    "hidden_dim": 256,
    "output_dim": 256,
    "num_layers": 1,
    "dropout": 0.0,
    "word_dropout": 0.0,
    "word_pooling": "weighted",
    "count_power": 0.5,
    "residual": True,
    "pooling": "last",
    "bidirectional": True,
    "allow_pad_step": False,
}
"""Every key of the `model` config group, with the value it has where a config leaves it out."""


class TwoTower(nn.Module):
    """Encodes queries and documents into one space of unit vectors, where the dot product is the similarity.

    State dict: `embedding.weight`, `query_tower.layers.N.*`, `document_tower.layers.N.*` (the same tensors twice if the
    towers are shared).

    Args:
        vocabulary_size: number of words V; word 0 is padding.
        embedding_dim: size of a word vector E.
        sparse_gradients: gradients of the word vectors hold the batch's words only (for an optimizer that takes them).
        **model_config: the keys of `DEFAULTS`.

    Raises:
        UserError: for a key or a value that does not exist or is out of range.
    """

    def __init__(
        self, *, vocabulary_size: int, embedding_dim: int, sparse_gradients: bool = False, **model_config: Any
    ) -> None:
        super().__init__()
        check_count("embedding.dim", embedding_dim)
        config = check_model(model_config)
        self.output_dim: int = config["output_dim"]
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim, sparse=sparse_gradients)
        nn.init.normal_(self.embedding.weight, std=embedding_dim**-0.5)
        with torch.no_grad():
            self.embedding.weight[0] = 0.0
        sizes = {"vocabulary_size": vocabulary_size, "embedding_dim": embedding_dim}
        self.query_tower = build_tower(config["query_tower"], config, **sizes)
        self.document_tower = (
            self.query_tower if config["shared"] else build_tower(config["document_tower"], config, **sizes)
        )

    def load_embedding(self, matrix: np.ndarray | Tensor) -> None:
        """Copies word vectors [V, E] into the table.

        Raises:
            UserError: when their shape is not the table's, or they are not finite.
        """
        vectors_VE = torch.as_tensor(matrix)
        if vectors_VE.shape != self.embedding.weight.shape:
            expected = tuple(self.embedding.weight.shape)
            raise UserError(
                f"Word vectors of shape {tuple(vectors_VE.shape)} do not fit the model's {expected} (embedding.dim)."
            )
        check_weights({"embedding": vectors_VE}, "The word vectors to start from")
        with torch.no_grad():
            self.embedding.weight.copy_(vectors_VE)

    def set_word_weights(self, weight_V: np.ndarray | Tensor) -> None:
        """Starts the pooling weights of every mlp tower with weighted pooling at the given values (idf), one a word."""
        weights = torch.as_tensor(weight_V, dtype=self.embedding.weight.dtype)
        for tower in (self.query_tower, self.document_tower):
            if isinstance(tower, MlpTower):
                tower.set_word_weights(weights)

    def encode_queries(self, batch: TokenBatch) -> Tensor:
        """Returns the queries' unit vectors [B, D]; finite for every text, empty ones too, if the weights are."""
        return normalise(_full(self.query_tower(self.embedding, batch.ids_T, batch.offsets_B1)))

    def encode_documents(self, batch: TokenBatch) -> Tensor:
        """Returns the documents' unit vectors [B, D]; finite for every text, empty ones too, if the weights are."""
        return normalise(_full(self.document_tower(self.embedding, batch.ids_T, batch.offsets_B1)))


def _full(vectors_BD: Tensor) -> Tensor:
    """Half precision back to float32: lengths and similarities are too fine for it."""
    return vectors_BD.to(torch.promote_types(vectors_BD.dtype, torch.float32))


def build_tower(kind: str, config: Mapping[str, Any], *, vocabulary_size: int, embedding_dim: int) -> nn.Module:
    """Builds one tower of a kind from a checked config."""
    common = {key: config[key] for key in ("hidden_dim", "output_dim", "num_layers", "dropout", "word_dropout")}
    if kind == "mlp":
        return MlpTower(
            vocabulary_size=vocabulary_size,
            embedding_dim=embedding_dim,
            word_pooling=config["word_pooling"],
            count_power=config["count_power"],
            residual=config["residual"],
            **common,
        )
    return RecurrentTower(
        kind=kind,
        embedding_dim=embedding_dim,
        pooling=config["pooling"],
        bidirectional=config["bidirectional"],
        **common,
    )


def check_model(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the `model` config with defaults filled in.

    Raises:
        UserError: for an unknown key, a value out of range, or keys that contradict each other.
    """
    check_keys("model", given, DEFAULTS)
    config = {**DEFAULTS, **given}
    towers = [check_choice(f"model.{side}_tower", config[f"{side}_tower"], TOWERS) for side in ("query", "document")]
    for key in ("shared", "residual", "bidirectional", "allow_pad_step"):
        check_flag(f"model.{key}", config[key])
    for key in ("hidden_dim", "output_dim"):
        check_count(f"model.{key}", config[key])
    for key in ("dropout", "word_dropout"):
        check_number(f"model.{key}", config[key], at_least=0, below=1)
    check_number("model.count_power", config["count_power"], at_least=0, at_most=1)
    check_count("model.num_layers", config["num_layers"], at_least=0 if set(towers) == {"mlp"} else 1)
    check_choice("model.word_pooling", config["word_pooling"], WORD_POOLINGS)
    allowed = [name for name in POOLINGS if name != "pad_step" or config["allow_pad_step"]]
    if config["pooling"] == "pad_step" and not config["allow_pad_step"]:
        raise UserError(
            "model.pooling=pad_step reads a padding step and makes a text's vector depend on its batch; "
            f"it exists to reproduce that mistake (model.allow_pad_step=true). Choose one of: {', '.join(allowed)}."
        )
    check_choice("model.pooling", config["pooling"], allowed)
    if config["shared"] and towers[0] != towers[1]:
        raise UserError(
            f"model.shared=true needs equal towers, but model.query_tower={towers[0]} and "
            f"model.document_tower={towers[1]}; set model.shared=false."
        )
    return config
