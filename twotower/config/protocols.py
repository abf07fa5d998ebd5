"""What a part of each kind must offer: the least that the rest needs. `docs/own_parts.md` shows each in ten lines.

A part is any class or function that a group's YAML names by `_target_`; it gets the keys beside it as arguments, and of
what is offered here those that its signature names. Nothing has to be inherited, but for callbacks and loggers
(Lightning's), optimizers (torch's) and indexes (`twotower.index.base.Index`).

Shapes: B texts of a batch, T their tokens together, N documents of a batch, D dimension, V vocabulary, K known words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from twotower.data.collection import Collection
    from twotower.loss.output import LossOutput
    from twotower.text.tokens import TokenBatch


class Tower(Protocol):
    """`model.query_tower`, `model.document_tower`: a torch module that turns texts into vectors.

    Offered to its constructor: vocabulary_size, embedding_dim, and the settings beside the towers in `model`.
    Optional: `output_dim`; `pads_batches = False` where like lengths need not go together; `set_word_weights(idf_V)`
    or `start_weights(statistics)`; `pool`, called like the tower:
    the words alone, which pre-training on the corpus trains.
    """

    def __call__(self, embedding: nn.Embedding, ids_T: Tensor, offsets_B1: Tensor) -> Tensor:
        """Returns vectors_BD of texts whose word ids lie one behind the other; text b has those from offset b on."""


@runtime_checkable
class Encoder(Protocol):
    """What encodes queries and documents; a whole LightningModule of one's own (`model._target_`) is one.

    Offered to its constructor: vocabulary_size, embedding_dim, and loss, optimizer, scheduler, sparse_gradients,
    freeze_embedding, cache_chunk for training. Optional: `output_dim`, `load_embedding(matrix_VE)`,
    `set_word_weights(weight_V)` or `start_weights(statistics)`, `pool_queries` and `pool_documents` for pre-training.
    """

    def encode_queries(self, batch: TokenBatch) -> Tensor:
        """Returns unit vectors [B, D] of queries."""

    def encode_documents(self, batch: TokenBatch) -> Tensor:
        """Returns unit vectors [B, D] of documents."""


class Loss(Protocol):
    """`loss`: what training minimises. Optional: `collapsed_value(queries, documents)`, for `callbacks.health`."""

    def __call__(self, query_BD: Tensor, document_ND: Tensor, mask_BN: Tensor) -> Tensor | LossOutput:
        """Returns the loss, a scalar, or a `LossOutput` with the batch's accuracy as well.

        Args:
            query_BD: unit vectors of the queries.
            document_ND: of the documents: first the B positives in the queries' order, then explicit negatives.
            mask_BN: True where document n must not count as a negative of query b.
        """


class DataSource(Protocol):
    """`data.source`: a function or class called with its settings."""

    def __call__(self, **settings: Any) -> Collection:
        """Returns documents, queries and judgements."""


@runtime_checkable
class Tokenizer(Protocol):
    """`text`: splits a text into words; ids, vocabulary and memory are seen to elsewhere.

    Optional: `vocabulary`, a list of words to use instead of counting them.
    """

    def split(self, text: str) -> list[str]:
        """Returns the normalised words of a text in their order."""


@runtime_checkable
class WordVectors(Protocol):
    """`embedding`: word vectors to start from.

    Offered to its constructor: dim, seed; to `vectors`: tokens, documents, seed, and stem, the language of the stems
    that the words are.
    """

    def vectors(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns which words it knows (their indices [K]) and their vectors [K, E]."""
