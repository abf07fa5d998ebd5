"""Sources of word vectors, ours or anybody's, built and asked: see `twotower.config.protocols.WordVectors`.

Shapes: V vocabulary, K words with a vector, D dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from twotower.config.instantiate import build_part, parameters
from twotower.config.protocols import WordVectors
from twotower.core.errors import UserError
from twotower.embedding.settings import EmbeddingSettings

WANTED = "word vectors need vectors(words) -> (indices [K], vectors [K, D]); docs/own_parts.md shows one"


def build_source(settings: EmbeddingSettings, seed: int) -> WordVectors:
    """Builds the source that a group names, from the group's other keys; `dim` and `seed` where its signature has them.

    Raises:
        UserError: for a setting it does not take, or where it has no `vectors`.
    """
    offered = {"dim": settings.dim, "seed": seed}
    source = build_part({**settings.part, "_target_": settings.target}, "embedding", offered, nested=False)
    if not isinstance(source, WordVectors):
        raise UserError(f"embedding._target_={settings.target}: {WANTED}.")
    if settings.given and not getattr(source, "shaped", True):
        raise UserError(
            f"embedding.{settings.given[0]} is no setting of {settings.target}, whose vectors are taken as they are."
        )
    return source


def vectors_of(source: WordVectors, words: Sequence[str], dim: int, **offered: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns which words (indices) a source covers, and their vectors.

    Args:
        source: from `build_source`.
        words: the vocabulary, in index order.
        dim: D.
        **offered: tokens, documents and seed, for a `vectors` that names them.

    Raises:
        UserError: when it gives something else, or vectors that are not finite or of another size.
    """
    names, _ = parameters(source.vectors)
    given: Any = source.vectors(words, **{name: value for name, value in offered.items() if name in names})
    source_name = f"embedding: {type(source).__name__}"
    if not isinstance(given, tuple) or len(given) != 2:
        raise UserError(f"{source_name} gave {type(given).__name__}: {WANTED}.")
    known_K, vectors_KD = np.asarray(given[0], dtype=np.int64), np.asarray(given[1], dtype=np.float32)
    if vectors_KD.shape != (len(known_K), dim):
        raise UserError(
            f"{source_name} gave vectors of shape {vectors_KD.shape}, not {(len(known_K), dim)} (embedding.dim)."
        )
    if len(known_K) and (known_K.min() < 0 or known_K.max() >= len(words) or len(np.unique(known_K)) < len(known_K)):
        raise UserError(f"{source_name} gave indices that are twice there or outside the {len(words)} words.")
    if not np.isfinite(vectors_KD).all():
        raise UserError(f"{source_name} gave vectors that are not finite.")
    return known_K, vectors_KD
