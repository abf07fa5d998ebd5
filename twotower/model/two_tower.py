"""Two towers over one table of word vectors: a query tower and a document tower.

Shapes: B batch, V vocabulary, E embedding, D dimension.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from twotower.config.instantiate import build_part, locate, parameters
from twotower.config.names import TOWERS, tower_settings
from twotower.core.errors import UserError
from twotower.core.finite import check_weights
from twotower.core.validators import check_count, check_flag, check_keys
from twotower.kernels.unit import normalise
from twotower.model.encoder import check_tower, try_tower

if TYPE_CHECKING:
    from twotower.model.words import WordStatistics
    from twotower.text.tokens import TokenBatch

OFFERED = ("vocabulary_size", "embedding_dim")
"""What every tower may take beside its settings."""


class TwoTower(nn.Module):
    """Encodes queries and documents into one space of unit vectors, where the dot product is the similarity.

    State dict: `embedding.weight`, `query_tower.layers.N.*`, `document_tower.layers.N.*` (the same tensors twice if the
    towers are shared).

    Args:
        vocabulary_size: number of words V; word 0 is padding.
        embedding_dim: size of a word vector E.
        sparse_gradients: gradients of the word vectors hold the batch's words only (for an optimizer that takes them).
        query_tower: a short name (mlp, gru, lstm, rnn) or a mapping with `_target_` and settings of its own.
        document_tower: the same; with `shared` it must be equal.
        shared: one tower reads both.
        **settings: goes to every tower whose constructor names it; its own settings win.

    Raises:
        UserError: for a key or a value that does not exist or is out of range.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        embedding_dim: int,
        sparse_gradients: bool = False,
        query_tower: Any = "mlp",
        document_tower: Any = "mlp",
        shared: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__()
        check_count("embedding.dim", embedding_dim)
        parts = [
            tower_settings(f"model.{side}_tower", tower)
            for side, tower in (("query", query_tower), ("document", document_tower))
        ]
        if check_flag("model.shared", shared) and parts[0] != parts[1]:
            raise UserError(
                f"model.shared=true needs equal towers, but model.query_tower={name_of_tower(query_tower)} and "
                f"model.document_tower={name_of_tower(document_tower)}; set model.shared=false."
            )
        check_keys("model", settings, settings_of(parts))
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim, sparse=sparse_gradients)
        nn.init.normal_(self.embedding.weight, std=embedding_dim**-0.5)
        with torch.no_grad():
            self.embedding.weight[0] = 0.0
        sizes = {"vocabulary_size": vocabulary_size, "embedding_dim": embedding_dim}
        self.query_tower = build_tower("query", parts[0], settings, sizes)
        self.document_tower = self.query_tower if shared else build_tower("document", parts[1], settings, sizes)
        self.output_dim = self._output_dim()

    def _output_dim(self) -> int:
        """Returns D, of which both towers must give vectors: what they say it is, or else the width of a vector."""
        sizes = {}
        for side, tower in (("query", self.query_tower), ("document", self.document_tower)):
            size = getattr(tower, "output_dim", None)
            sizes[side] = int(size) if size is not None else try_tower(f"model.{side}_tower", tower, self.embedding)
        if sizes["query"] != sizes["document"]:
            raise UserError(
                f"model.query_tower gives vectors of {sizes['query']} numbers, model.document_tower of "
                f"{sizes['document']}: both need one size (model.output_dim)."
            )
        return sizes["query"]

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
        """Starts the word weights of every tower that has some (`set_word_weights`) at the given values, idf."""
        weights = torch.as_tensor(weight_V, dtype=self.embedding.weight.dtype)
        for tower in (self.query_tower, self.document_tower):
            start: Any = getattr(tower, "set_word_weights", None)
            if start is not None:
                start(weights)

    def start_weights(self, statistics: WordStatistics) -> None:
        """Starts the word weights of every tower that has some from what the corpus tells of its words.

        Each takes what it wants from `statistics` (`start_weights`), or idf (`set_word_weights`).
        """
        for tower in (self.query_tower, self.document_tower):
            own: Any = getattr(tower, "start_weights", None)
            plain: Any = getattr(tower, "set_word_weights", None)
            if own is not None:
                own(statistics)
            elif plain is not None:
                plain(torch.as_tensor(statistics.idf, dtype=self.embedding.weight.dtype))

    def pool_queries(self, batch: TokenBatch) -> Tensor:
        """As `encode_queries`, of the words alone where the tower can tell them apart (`pool`)."""
        return self._pool(self.query_tower, batch)

    def pool_documents(self, batch: TokenBatch) -> Tensor:
        """As `encode_documents`, of the words alone where the tower can tell them apart (`pool`)."""
        return self._pool(self.document_tower, batch)

    def _pool(self, tower: Any, batch: TokenBatch) -> Tensor:
        return normalise(_full(getattr(tower, "pool", tower)(self.embedding, batch.ids_T, batch.offsets_B1)))

    def encode_queries(self, batch: TokenBatch) -> Tensor:
        """Returns the queries' unit vectors [B, D]; finite for every text, empty ones too, if the weights are."""
        return normalise(_full(self.query_tower(self.embedding, batch.ids_T, batch.offsets_B1)))

    def encode_documents(self, batch: TokenBatch) -> Tensor:
        """Returns the documents' unit vectors [B, D]; finite for every text, empty ones too, if the weights are."""
        return normalise(_full(self.document_tower(self.embedding, batch.ids_T, batch.offsets_B1)))


def _full(vectors_BD: Tensor) -> Tensor:
    """Half precision back to float32: lengths and similarities are too fine for it."""
    return vectors_BD.to(torch.promote_types(vectors_BD.dtype, torch.float32))


def build_tower(side: str, part: Mapping[str, Any], settings: Mapping[str, Any], sizes: Mapping[str, Any]) -> nn.Module:
    """Builds one tower: its own settings, those of the model that its constructor names, and the table's sizes."""
    key = f"model.{side}_tower"
    names, _ = parameters(locate(part["_target_"], key))
    shared = {name: value for name, value in settings.items() if name in names and name not in part}
    tower = build_part({**shared, **part}, key, sizes)
    check_tower(key, tower)
    return tower  # type: ignore[no-any-return]


def settings_of(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the settings that stand in `model` beside its towers: those of these towers, and of all of ours.

    So that `model.query_tower=gru` is enough to change a tower, whatever settings of the one before stand there.
    """
    targets = [*(part["_target_"] for part in parts), *TOWERS.values()]
    names = [name for target in targets for name in parameters(locate(target, "model"))[0]]
    return [name for name in dict.fromkeys(names) if name not in OFFERED]


def unread_settings(model: Mapping[str, Any]) -> list[str]:
    """Returns the settings of a `model` group that neither of its towers reads."""
    parts = [tower_settings(f"model.{side}", model.get(side, "mlp")) for side in ("query_tower", "document_tower")]
    read = {name for part in parts for name in parameters(locate(part["_target_"], "model"))[0]}
    return [name for name in model if name not in (*read, *inspect.signature(TwoTower).parameters, "_target_")]


def name_of_tower(tower: Any) -> str:
    """Returns a tower as one writes it: its short name, or its class."""
    return str(tower["_target_"]) if isinstance(tower, Mapping) and "_target_" in tower else str(tower)
