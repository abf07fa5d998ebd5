"""A single query to its vector: straight through the weights where the tower is an mlp.

The towers are written for batches; for one short text nearly all their time is spent on getting from one operation to
the next. An mlp tower comes down to a dozen array operations, which numpy does in a third of the time.

Shapes: U distinct words of the query, V vocabulary, E embedding, H hidden, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from twotower.model.checkpoint import Checkpoint

Step = Callable[[np.ndarray], np.ndarray]
LAYER_NORM_EPSILON = 1e-5
"""What torch's LayerNorm adds to the variance."""


class MlpQuery:
    """The query tower of an mlp model, for one text at a time; gives the tower's vector to 1e-6.

    Args:
        state: the model's state dict as arrays.
        count_power: how much repeated words count, see `twotower.model.mlp.WordPooling`.
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
        if length <= 1e-12:  # as `twotower.model.pooling.normalise`
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
        return vector_E + outer_EH @ np.maximum(inner_HE @ (centred_E * scale) + bias_H, 0)

    return step


def query_encoder(checkpoint: Checkpoint) -> Callable[[Sequence[int]], np.ndarray]:
    """Returns what turns a query's word ids into its unit vector [1, D]: `MlpQuery`, or the tower of another kind."""
    import torch

    from twotower.model.mlp import MlpTower
    from twotower.text.tokens import TokenBatch

    model = checkpoint.model
    if isinstance(model.query_tower, MlpTower):
        state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        return MlpQuery(state, count_power=float(model.query_tower.layers[0].count_power))  # type: ignore[arg-type]

    def encode(ids: Sequence[int]) -> np.ndarray:
        with torch.inference_mode():
            return model.encode_queries(TokenBatch.from_rows([ids])).float().numpy()

    return encode
