"""From the `embedding` config group to a matrix of word vectors.

Shapes: V vocabulary, D dimension. Word 0 is padding (zeros), word 1 stands for unknown words.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.core.cache import NUMPY_THREADS, CacheClosedError, cached_folder, content_key
from twotower.core.errors import UserError
from twotower.core.reading import read_array
from twotower.core.validators import check_choice, check_count, check_flag, check_keys, check_number

if TYPE_CHECKING:
    from twotower.text.tokens import Tokens

log = logging.getLogger(__name__)

SHARED_KEYS: dict[str, Any] = {"dim": 256, "freeze": False, "learning_rate": None}
SHAPING_KEYS: dict[str, Any] = {"remove_top": 32, "own": 1.0}
TRAINED_KEYS: dict[str, Any] = {"epochs": 5, "window": 5, "negative": 5, "min_count": 1, "learn_from": 0.025}
KINDS: dict[str, dict[str, Any]] = {
    "random": {"distribution": "normal"},
    "cbow": {**TRAINED_KEYS, **SHAPING_KEYS},
    "skipgram": {**TRAINED_KEYS, **SHAPING_KEYS},
    "lsa": {"k1": 1.5, "b": 0.75, "passes": 4, "max_documents": 200_000, "mix": None, "mix_weight": 0.5},
    "glove": SHAPING_KEYS,
    "file": {"path": None, "format": None, **SHAPING_KEYS},
}
"""The keys of each kind beside `SHARED_KEYS`, with the values they have where a config leaves them out."""
OURS = ("kind", *SHARED_KEYS, *SHAPING_KEYS)
"""The keys that are not the settings of somebody else's source (`embedding._target_`)."""
FEW = 0.5
"""A smaller share of the corpus with vectors that were read is warned of."""


def build(
    config: Mapping[str, Any],
    words: Sequence[str],
    tokens: Tokens | None,
    seed: int,
    *,
    documents: Tokens | None = None,
) -> np.ndarray:
    """Returns the word vectors a config asks for.

    Every kind gives vectors of length about 1. Read and trained vectors are shaped first (see `shape_vectors`); words a
    source lacks get random ones.

    Args:
        config: the `embedding` group: kind, dim, and the kind's keys.
        words: the vocabulary, in index order.
        tokens: the corpus as token ids, queries too; needed by cbow and skipgram only.
        seed: of everything random.
        documents: the documents alone; needed by lsa only (None: all of `tokens`).

    Returns:
        float32 [V, D]; row 0 is zeros.

    Raises:
        UserError: for an unknown kind or key, a value out of range, or a file that can't be read.
    """
    settings = check_embedding(config)
    lsa = settings["kind"] == "lsa"
    matrix_VD = random_vectors(
        len(words), settings["dim"], distribution=settings.get("distribution", "normal"), seed=seed
    )
    known_V, found_KD = _known(settings, words, tokens if documents is None or not lsa else documents, seed)
    if lsa:  # a word's length says how much it tells, so these are not brought to length 1
        matrix_VD[known_V] = found_KD
        if settings["mix"] is not None:
            matrix_VD += _mixed(settings, matrix_VD, words, tokens, seed)
    elif len(known_V):
        matrix_VD[known_V] = shape_vectors(
            found_KD, matrix_VD[known_V], top=settings["remove_top"], own=settings["own"]
        )
    if settings["kind"] != "random":
        line = f"Word vectors ({settings['kind']}): {coverage(known_V, words, tokens)}"
        if settings["kind"] in ("file", "glove") and covered(known_V, words, tokens) < FEW:
            line += (
                "; the others start from random vectors. So few: vectors of another language, of words cut or "
                "lower-cased in another way (text.lowercase, text.split_identifiers), or a file that is cut short?"
            )
            log.warning(line)
        else:
            log.info(line)
    matrix_VD[0] = 0.0
    return matrix_VD


def shape_vectors(found_KD: np.ndarray, random_KD: np.ndarray, *, top: int, own: float) -> np.ndarray:
    """Makes trained word vectors a good start for search.

    Trained vectors share a few strong directions, mostly of word frequency, that make all texts look alike: with `top`
    they are centred and lose their `top` strongest principal components. What is left says which words are related, yet
    hardly tells a word from its kin; adding a random vector of its own, `own` times as long, keeps exact matches exact.

    Source: Mu and Viswanath, All-but-the-Top (2018), for the components.

    Args:
        found_KD: vectors as they were read or trained.
        random_KD: random vectors of length about 1, one a word.
        top: principal components to remove; 0 leaves vectors as they are, not centred either.
        own: length of the random part against the trained one; 0 for none.

    Returns:
        float32 [K, D] vectors of length 1 (0 for a word whose vector was zeros).
    """
    shaped_KD = found_KD.astype(np.float64)
    if top:
        shaped_KD -= shaped_KD.mean(0)
        strongest_DT = _strongest(found_KD, min(top, found_KD.shape[1] - 1))
        shaped_KD -= (shaped_KD @ strongest_DT) @ strongest_DT.T
    return _unit(_unit(shaped_KD) + own * random_KD if own else shaped_KD).astype(np.float32)


def _strongest(found_KD: np.ndarray, count: int) -> np.ndarray:
    """Returns the strongest principal components float64 [D, count], found once for the same vectors.

    Small as the matrix is, its decomposition takes seconds where the threads of LAPACK wait for busy cores. Its last
    bits depend on numpy, its threads and the processor; where those are new to a cache that can't be written, what was
    found is not kept.
    """
    from twotower.kernels.cpu import processor_name  # imports torch, which whoever trains has loaded

    def found() -> np.ndarray:
        centred_KD = found_KD.astype(np.float64)
        centred_KD -= centred_KD.mean(0)
        _, directions_DD = np.linalg.eigh(centred_KD.T @ centred_KD)  # eigenvalues rise: the strongest come last
        return np.ascontiguousarray(directions_DD[:, found_KD.shape[1] - count :])  # as it is read from its file

    def fill(folder: Path) -> None:
        np.save(folder / "directions.npy", found())

    key = content_key("directions 2", count, NUMPY_THREADS, np.__version__, processor_name(), found_KD)
    try:
        folder = cached_folder("word_vector_directions", key, fill)
    except CacheClosedError as error:
        log.info("The principal components of the word vectors are not kept. %s", error)
        return found()
    return read_array(folder / "directions.npy", dtype="float64", shape=(None, None), finite=True)


def _unit(vectors_KD: np.ndarray) -> np.ndarray:
    return vectors_KD / np.maximum(np.linalg.norm(vectors_KD, axis=1, keepdims=True), 1e-9)


def coverage(known_V: np.ndarray, words: Sequence[str], tokens: Tokens | None) -> str:
    """Tells how much of the vocabulary, and of the corpus if it is given, has a vector of its own."""
    line = f"{len(known_V):,} of {len(words):,} words ({len(known_V) / max(1, len(words)):.1%})"
    if tokens is not None and len(tokens.ids_T):
        line += f", {covered(known_V, words, tokens):.1%} of the corpus"
    return line


def covered(known_V: np.ndarray, words: Sequence[str], tokens: Tokens | None) -> float:
    """Returns the share of the corpus's tokens (without a corpus: of the vocabulary) with a vector of their own."""
    if tokens is None or not len(tokens.ids_T):
        return len(known_V) / max(1, len(words) - 2)
    has_V = np.zeros(len(words), dtype=bool)
    has_V[known_V] = True
    return float(has_V[np.asarray(tokens.ids_T)].mean())


def random_vectors(size: int, dim: int, *, distribution: str, seed: int) -> np.ndarray:
    """Returns float32 [size, dim] random vectors of expected squared length 1.

    Args:
        size: number of words.
        dim: size of a vector.
        distribution: normal or uniform, of each entry.
        seed: the generator's.
    """
    generator = np.random.default_rng(seed)
    if distribution == "uniform":
        bound = (3 / dim) ** 0.5
        return generator.uniform(-bound, bound, (size, dim)).astype(np.float32)
    return generator.standard_normal((size, dim), dtype=np.float32) * np.float32(dim**-0.5)


def check_embedding(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the `embedding` config with defaults filled in.

    Raises:
        UserError: for an unknown kind or key, or a value out of range.
    """
    if "_target_" in config:
        kind, settings = "own", {**SHARED_KEYS, **SHAPING_KEYS, **config, "kind": "own"}
    else:
        kind = check_choice("embedding.kind", config.get("kind"), KINDS)
        check_keys("embedding", config, ["kind", *SHARED_KEYS, *KINDS[kind]])
        settings = {**SHARED_KEYS, **KINDS[kind], **config}
    check_count("embedding.dim", settings["dim"])
    check_flag("embedding.freeze", settings["freeze"])
    if "own" in settings:
        check_count("embedding.remove_top", settings["remove_top"], at_least=0)
        check_number("embedding.own", settings["own"], at_least=0)
    if settings["learning_rate"] is not None:
        check_number("embedding.learning_rate", settings["learning_rate"], above=0)
    if kind == "lsa":
        _check_lsa(settings)
    if kind == "random":
        check_choice("embedding.distribution", settings["distribution"], ("normal", "uniform"))
    if kind in ("cbow", "skipgram"):
        for key in ("epochs", "window", "negative", "min_count"):
            check_count(f"embedding.{key}", settings[key])
        check_number("embedding.learn_from", settings["learn_from"], above=0, at_most=1)
    return settings


def _check_lsa(settings: Mapping[str, Any]) -> None:
    check_number("embedding.k1", settings["k1"], at_least=0)
    check_number("embedding.b", settings["b"], at_least=0, at_most=1)
    check_count("embedding.passes", settings["passes"], at_least=2)
    check_count("embedding.max_documents", settings["max_documents"])
    check_number("embedding.mix_weight", settings["mix_weight"], at_least=0)
    if settings["mix"] is not None:
        if not isinstance(settings["mix"], Mapping) or settings["mix"].get("kind") == "lsa":
            raise UserError("embedding.mix is null or the keys of another choice, such as {kind: cbow}.")
        mixed = check_embedding(settings["mix"])
        if mixed["dim"] > settings["dim"]:
            raise UserError(f"embedding.mix.dim={mixed['dim']} is more than embedding.dim={settings['dim']}.")


def _mixed(
    settings: Mapping[str, Any], lsa_VD: np.ndarray, words: Sequence[str], tokens: Tokens | None, seed: int
) -> np.ndarray:
    """Returns the vectors of `mix` [V, D], each `mix_weight` times as long as the word's own.

    Fewer dimensions are turned into D by orthonormal directions drawn at random, which keep all angles.
    """
    other_VM = build(settings["mix"], words, tokens, seed)
    width, dim = other_VM.shape[1], settings["dim"]
    turn_DM, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, width)))
    length_V1 = np.linalg.norm(lsa_VD, axis=1, keepdims=True)
    return (settings["mix_weight"] * length_V1 * (_unit(other_VM) @ turn_DM.T)).astype(np.float32)


def check_source(settings: Mapping[str, Any]) -> None:
    """Checks that what a checked config reads its vectors from is there and has their dimension.

    Raises:
        UserError: when it is not.
    """
    if settings["kind"] == "own":
        from twotower.embedding.own import build_source

        build_source(settings, OURS, seed=0)
    if settings["kind"] == "glove":
        from twotower.embedding.glove import check_glove

        check_glove(settings["dim"])
    if settings.get("mix") is not None:
        check_source(check_embedding(settings["mix"]))
    if settings["kind"] == "file":
        from twotower.embedding.files import open_file

        open_file(settings)


def _known(
    settings: Mapping[str, Any], words: Sequence[str], tokens: Tokens | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which words (indices) a source covers, and their vectors."""
    kind = settings["kind"]
    if kind == "own":
        from twotower.embedding.own import build_source, own_vectors

        return own_vectors(build_source(settings, OURS, seed), settings, words, tokens, seed)
    if kind in ("cbow", "skipgram", "lsa") and tokens is None:
        raise UserError(f"embedding={kind} is trained on the corpus, but there are no tokens.")
    if kind == "lsa":
        from twotower.embedding.lsa import lsa_vectors

        assert tokens is not None
        return lsa_vectors(settings, tokens, size=len(words), seed=seed)
    if kind in ("cbow", "skipgram"):
        from twotower.embedding.word2vec import trained_vectors

        assert tokens is not None
        return trained_vectors(settings, tokens, size=len(words), seed=seed)
    if kind == "glove":
        from twotower.embedding.glove import glove_vectors

        return glove_vectors(words, dim=settings["dim"])
    if kind == "file":
        from twotower.embedding.files import file_vectors

        return file_vectors(settings, words)
    return np.zeros(0, dtype=np.int64), np.zeros((0, settings["dim"]), dtype=np.float32)
