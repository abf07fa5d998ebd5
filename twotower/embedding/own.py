"""Word vectors from somebody else's source: see `twotower.config.protocols.WordVectors`.

Shapes: V vocabulary, K words with a vector, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.config.instantiate import build_part, parameters
from twotower.config.protocols import WordVectors
from twotower.core.errors import UserError

if TYPE_CHECKING:
    from twotower.text.tokens import Tokens

WANTED = "word vectors need vectors(words) -> (indices [K], vectors [K, D]); docs/own_parts.md shows one"


def build_source(settings: Mapping[str, Any], ours: Sequence[str], seed: int) -> WordVectors:
    """Builds the part from its own settings; `dim` and `seed` go to a constructor that names them.

    Args:
        settings: the `embedding` group.
        ours: its keys that are not the part's.
        seed: of everything random.

    Raises:
        UserError: for a setting it does not take, or where it has no `vectors`.
    """
    own = {key: value for key, value in settings.items() if key not in ours}
    source = build_part(own, "embedding", {"dim": settings["dim"], "seed": seed})
    if not isinstance(source, WordVectors):
        raise UserError(f"embedding._target_={settings['_target_']}: {WANTED}.")
    return source


def own_vectors(
    source: WordVectors, settings: Mapping[str, Any], words: Sequence[str], tokens: Tokens | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which words (indices) a source covers, and their vectors.

    Raises:
        UserError: when it gives something else, or vectors that are not finite or of another size.
    """
    names, _ = parameters(source.vectors)
    offered = {"tokens": tokens, "seed": seed}
    given: Any = source.vectors(words, **{name: value for name, value in offered.items() if name in names})
    told = f"embedding._target_={settings['_target_']}"
    if not isinstance(given, tuple) or len(given) != 2:
        raise UserError(f"{told} gave {type(given).__name__}: {WANTED}.")
    known_K, vectors_KD = np.asarray(given[0], dtype=np.int64), np.asarray(given[1], dtype=np.float32)
    if vectors_KD.shape != (len(known_K), settings["dim"]):
        shape = vectors_KD.shape
        raise UserError(
            f"{told} gave vectors of shape {shape} for {len(known_K)} words; embedding.dim={settings['dim']}."
        )
    if len(known_K) and (known_K.min() < 0 or known_K.max() >= len(words) or len(np.unique(known_K)) < len(known_K)):
        raise UserError(f"{told} gave indices that are twice there or outside the {len(words)} words.")
    if not np.isfinite(vectors_KD).all():
        raise UserError(f"{told} gave vectors that are not finite.")
    return known_K, vectors_KD
