"""A single query to its vector: straight through the weights where the tower is an mlp.

The towers are written for batches; for one short text nearly all their time is spent on getting from one operation to
the next. An mlp tower comes down to a dozen array operations, which numpy does in a third of the time.

Shapes: U distinct words of the query, V vocabulary, E embedding, H hidden, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.core.cache import cache_root, cached_folder
from twotower.core.errors import UserError
from twotower.core.files import sha256_file
from twotower.core.finite import check_weights
from twotower.model.query_file import QueryFile, query_file_of, read_query_file, write_query_file
from twotower.text.build import restore_tokenizer
from twotower.text.tokenizer import Tokenizer
from twotower.text.tokens import TokenBatch

if TYPE_CHECKING:
    from twotower.model.two_tower import TwoTower

Step = Callable[[np.ndarray], np.ndarray]
KIND, KEPT = "query_models", "queries.safetensors"
"""Folder of the cache, and the file there, of what queries take of models exported without it."""

LAYER_NORM_EPSILON = 1e-5
"""What torch's LayerNorm adds to the variance."""


class MlpQuery:
    """The query tower of an mlp model, for one text at a time; gives the tower's vector to 1e-6.

    Args:
        state: the model's state dict as arrays.
        count_power: how much repeated words count, see `twotower.model.words.WordPooling`.
    """

    def __init__(self, state: Mapping[str, np.ndarray], *, count_power: float) -> None:
        self._table_VE = np.asarray(state["embedding.weight"], dtype=np.float32)
        prefix = "query_tower.layers."
        layers: dict[int, dict[str, np.ndarray]] = {}
        for key, array in state.items():
            if key.startswith(prefix):
                number, _, name = key.removeprefix(prefix).partition(".")
                layers.setdefault(int(number), {})[name] = np.asarray(array, dtype=np.float32)
        self._weight_V = layers.pop(0, {}).get("weight")
        self._steps = [_step(layers[number]) for number in sorted(layers)]
        self._count_power = count_power

    def __call__(self, ids: Sequence[int]) -> np.ndarray:
        """Returns the unit vector [1, D] of a text's word ids."""
        distinct = dict.fromkeys(ids)
        words_U = np.array(list(distinct), dtype=np.int64)
        vectors_UE = self._table_VE[words_U]
        if len(distinct) == len(ids):
            vector_E = self._weight_V[words_U] @ vectors_UE if self._weight_V is not None else np.add.reduce(vectors_UE)
        else:
            vector_E = self._weights(words_U, [ids.count(word) for word in distinct]) @ vectors_UE
        vector_E = vector_E * np.float32(max(1, len(ids)) ** -0.5)
        for step in self._steps:
            vector_E = step(vector_E)
        length = float(vector_E @ vector_E) ** 0.5
        if length <= 1e-12:  # as `twotower.kernels.unit.normalise`
            return np.full((1, len(vector_E)), len(vector_E) ** -0.5, np.float32)
        return (vector_E / np.float32(length))[None]

    def _weights(self, words_U: np.ndarray, counts: list[int]) -> np.ndarray:
        weight_U = np.array(counts, dtype=np.float32) ** np.float32(self._count_power)
        return weight_U if self._weight_V is None else weight_U * self._weight_V[words_U]


def _step(layer: Mapping[str, np.ndarray]) -> Step:
    """Returns what a layer with these parameters does to one vector."""
    if "norm.weight" in layer:
        return _residual(layer)
    weight_HE, bias_H = layer["weight"], layer.get("bias")
    if bias_H is None:
        return lambda vector_E: weight_HE @ vector_E
    return lambda vector_E: np.maximum(weight_HE @ vector_E + bias_H, 0)


def _residual(layer: Mapping[str, np.ndarray]) -> Step:
    # the norm's own scale and shift go into the matrix that follows
    inner_HE = layer["inner.weight"] * layer["norm.weight"]
    bias_H = layer["inner.weight"] @ layer["norm.bias"] + layer["inner.bias"]
    outer_EH, size = layer["outer.weight"], len(layer["norm.weight"])
    mean_E = np.full(size, 1 / size, np.float32)

    def step(vector_E: np.ndarray) -> np.ndarray:
        centred_E = vector_E - vector_E @ mean_E
        scale = np.float32((float(centred_E @ centred_E) / size + LAYER_NORM_EPSILON) ** -0.5)
        return vector_E + outer_EH @ np.maximum(inner_HE @ (centred_E * scale) + bias_H, 0)  # type: ignore[no-any-return]

    return step


@dataclass(frozen=True, kw_only=True)
class QueryModel:
    """As much of an exported model as reads queries.

    Attributes:
        path: its file.
        sha256: the file's hash.
        tokenizer: turns text into word ids.
        max_query_length: the most words of a query it was trained to read; None for all.
        encode: word ids to the unit vector [1, D].
    """

    path: Path
    sha256: str
    tokenizer: Tokenizer
    max_query_length: int | None
    encode: Callable[[Sequence[int]], np.ndarray]


def open_query_model(path: Path) -> QueryModel:
    """Opens an exported model for queries, from the file beside it or in the cache (no torch), else through torch.

    An earlier version's export has no such file beside it: the first to open it keeps one in the cache.

    Raises:
        UserError: as `twotower.model.checkpoint.load`, or for a damaged file beside the model.
    """
    if path.is_file():
        sha256 = sha256_file(path)
        for file in (query_file_of(path), cache_root() / KIND / sha256 / KEPT):
            if content := read_query_file(path, sha256, source=file):
                return _open_mlp(path, sha256, file, content)
    from twotower.model.checkpoint import load

    checkpoint = load(path)
    _keep(path, checkpoint.sha256)
    parts: dict[str, Any] = {"path": path, "sha256": checkpoint.sha256, "tokenizer": checkpoint.tokenizer}
    return QueryModel(**parts, max_query_length=checkpoint.max_query_length, encode=tower_encoder(checkpoint.model))


class _NoMlpError(Exception):
    """A model whose queries are read through torch."""


def _keep(path: Path, sha256: str) -> None:
    """Keeps what reading queries takes in the cache, for an mlp that has no such file beside it."""
    from twotower.model.checkpoint import read

    def fill(folder: Path) -> None:
        if write_query_file(path, read(path), sha256, target=folder / KEPT) is None:
            raise _NoMlpError

    # what can't be written (a closed cache, a full disk) costs every search the seconds that torch takes, no more
    with suppress(_NoMlpError, UserError):
        cached_folder(KIND, sha256, fill)


def _open_mlp(path: Path, sha256: str, file: Path, content: QueryFile) -> QueryModel:
    check_weights(content.state, str(file))
    tokenizer = restore_tokenizer(content.word_to_index, content.text, source=path)
    try:
        encode = MlpQuery(content.state, count_power=content.count_power)
        encode([len(content.state["embedding.weight"]) - 1])  # arrays that don't fit each other say so here
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{file}: its arrays don't fit each other ({error}). Remove it.") from error
    if tokenizer.size != len(content.state["embedding.weight"]) or (content.max_query_length or 1) < 1:
        raise UserError(f"{file}: its vocabulary and its arrays don't fit each other. Remove it.")
    longest = content.max_query_length
    return QueryModel(path=path, sha256=sha256, tokenizer=tokenizer, max_query_length=longest, encode=encode)


def tower_encoder(model: TwoTower) -> Callable[[Sequence[int]], np.ndarray]:
    """Returns what turns word ids into the unit vector [1, D] by the model's own query tower."""
    import torch

    def encode(ids: Sequence[int]) -> np.ndarray:
        with torch.inference_mode():
            return model.encode_queries(TokenBatch.from_rows([ids])).float().numpy()

    return encode
