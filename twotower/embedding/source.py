"""Sources of word vectors, ours or anybody's, built and asked: see `twotower.config.protocols.WordVectors`.

Shapes: V vocabulary, K words with a vector, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twotower.config.instantiate import build_part, parameters
from twotower.config.names import EMBEDDINGS
from twotower.config.protocols import WordVectors
from twotower.core.errors import UserError
from twotower.core.validators import check_choice, check_count, check_flag, check_number

SHARED: dict[str, Any] = {"kind": None, "dim": 256, "freeze": False, "learning_rate": None}
SHAPING: dict[str, Any] = {"remove_top": 32, "own": 1.0}
"""Keys of `embedding` that are no source's own, and what stands in for one that is left out; the second of those whose
vectors are shaped."""

WANTED = "word vectors need vectors(words) -> (indices [K], vectors [K, D]); docs/own_parts.md shows one"


def shared_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keys of an `embedding` group that are no source's own, with defaults filled in.

    Raises:
        UserError: for a value out of range, or an unknown source or setting.
    """
    shaped = getattr(build_source(config, seed=0), "shaped", True)
    settings = {**SHARED, **(SHAPING if shaped else {})}
    settings |= {key: config[key] for key in settings if key in config}
    check_count("embedding.dim", settings["dim"])
    check_flag("embedding.freeze", settings["freeze"])
    if settings["learning_rate"] is not None:
        check_number("embedding.learning_rate", settings["learning_rate"], above=0)
    if shaped:
        check_count("embedding.remove_top", settings["remove_top"], at_least=0)
        check_number("embedding.own", settings["own"], at_least=0)
    return settings


def build_source(config: Mapping[str, Any], seed: int) -> WordVectors:
    """Builds the source that a group names, from the group's other keys; `dim` and `seed` where its signature has them.

    Raises:
        UserError: for a setting it does not take, or where it has no `vectors`.
    """
    target = config.get("_target_") or EMBEDDINGS[check_choice("embedding.kind", config.get("kind"), EMBEDDINGS)]
    own = {key: value for key, value in config.items() if key not in (*SHARED, *SHAPING)}
    offered = {"dim": check_count("embedding.dim", config.get("dim", SHARED["dim"])), "seed": seed}
    source = build_part({**own, "_target_": target}, "embedding", offered, nested=False)
    if not isinstance(source, WordVectors):
        raise UserError(f"embedding._target_={target}: {WANTED}.")
    if not getattr(source, "shaped", True) and (given := [key for key in SHAPING if key in config]):
        raise UserError(f"embedding.{given[0]} is no setting of {target}, whose vectors are taken as they are.")
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
    told = f"embedding: {type(source).__name__}"
    if not isinstance(given, tuple) or len(given) != 2:
        raise UserError(f"{told} gave {type(given).__name__}: {WANTED}.")
    known_K, vectors_KD = np.asarray(given[0], dtype=np.int64), np.asarray(given[1], dtype=np.float32)
    if vectors_KD.shape != (len(known_K), dim):
        raise UserError(f"{told} gave vectors of shape {vectors_KD.shape}, not {(len(known_K), dim)} (embedding.dim).")
    if len(known_K) and (known_K.min() < 0 or known_K.max() >= len(words) or len(np.unique(known_K)) < len(known_K)):
        raise UserError(f"{told} gave indices that are twice there or outside the {len(words)} words.")
    if not np.isfinite(vectors_KD).all():
        raise UserError(f"{told} gave vectors that are not finite.")
    return known_K, vectors_KD
