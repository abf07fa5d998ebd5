"""From the `embedding` config group to a matrix of word vectors.

Shapes: V vocabulary, D dimension. Word 0 is padding (zeros), word 1 stands for unknown words.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twotower.config.names import EMBEDDINGS
from twotower.core.cache import NUMPY_THREADS, CacheClosedError, cached_folder, content_key
from twotower.core.errors import UserError
from twotower.core.reading import read_array
from twotower.embedding.settings import EmbeddingSettings
from twotower.embedding.source import build_source, vectors_of
from twotower.embedding.sources import RandomVectors

if TYPE_CHECKING:
    from twotower.config.protocols import WordVectors
    from twotower.text.tokens import Tokens

log = logging.getLogger(__name__)


def build(
    config: Mapping[str, Any] | EmbeddingSettings,
    words: Sequence[str],
    tokens: Tokens | None,
    seed: int,
    *,
    documents: Tokens | None = None,
    stem: str | None = None,
) -> np.ndarray:
    """Returns the word vectors a config asks for.

    Every kind gives vectors of length about 1. Read and trained vectors are shaped first (see `shape_vectors`); words a
    source lacks get random ones.

    Args:
        config: the `embedding` group.
        words: the vocabulary, in index order.
        tokens: the corpus as token ids, queries too; needed by cbow and skipgram only.
        seed: of everything random.
        documents: the documents alone; needed by lsa only (None: all of `tokens`).
        stem: language of the stems that the vocabulary's words are; vectors of whole words are found by their stem.

    Returns:
        float32 [V, D]; row 0 is zeros.

    Raises:
        UserError: for an unknown kind or key, a value out of range, or a file that can't be read.
    """
    settings = check_embedding(config)
    source = build_source(settings, seed)
    distribution = getattr(source, "distribution", "normal")
    matrix_VD = random_vectors(len(words), settings.dim, distribution=distribution, seed=seed)
    offered = {"tokens": tokens, "documents": documents, "seed": seed, "stem": stem}
    known_V, found_KD = vectors_of(source, words, settings.dim, **offered)
    if not getattr(source, "shaped", True):
        matrix_VD[known_V] = found_KD
    elif len(known_V):
        matrix_VD[known_V] = shape_vectors(found_KD, matrix_VD[known_V], top=settings.remove_top, own=settings.own)
    mix = getattr(source, "mix", None)
    if mix is not None:
        matrix_VD += _mixed(mix, source.mix_weight, matrix_VD, words, tokens, seed, stem)  # type: ignore[attr-defined]
    if not isinstance(source, RandomVectors):
        _tell(settings, source, known_V, words, tokens)
    matrix_VD[0] = 0.0
    return matrix_VD


def shape_vectors(found_KD: np.ndarray, random_KD: np.ndarray, *, top: int, own: float) -> np.ndarray:
    """Makes trained word vectors a good start for search.

    Trained vectors share a few strong directions, mostly of word frequency, that make all texts look alike: with `top`
    they are centred and lose their `top` strongest principal components. What is left says which words are related, yet
    hardly tells a word from its neighbours; a random vector of its own, `own` times as long, keeps exact matches exact.

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

    def decomposed() -> np.ndarray:
        centred_KD = found_KD.astype(np.float64)
        centred_KD -= centred_KD.mean(0)
        _, directions_DD = np.linalg.eigh(centred_KD.T @ centred_KD)  # eigenvalues rise: the strongest come last
        return np.ascontiguousarray(directions_DD[:, found_KD.shape[1] - count :])  # as it is read from its file

    def fill(folder: Path) -> None:
        np.save(folder / "directions.npy", decomposed())

    key = content_key("directions 2", count, NUMPY_THREADS, np.__version__, processor_name(), found_KD)
    try:
        folder = cached_folder("word_vector_directions", key, fill)
    except CacheClosedError as error:
        log.info("The principal components of the word vectors are not kept. %s", error)
        return decomposed()
    return read_array(folder / "directions.npy", dtype="float64", shape=(None, None), finite=True)


def _unit(vectors_KD: np.ndarray) -> np.ndarray:
    return vectors_KD / np.maximum(np.linalg.norm(vectors_KD, axis=1, keepdims=True), 1e-9)  # type: ignore[no-any-return]


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


def _tell(
    settings: EmbeddingSettings, source: WordVectors, known_V: np.ndarray, words: Sequence[str], tokens: Tokens | None
) -> None:
    line = f"Word vectors ({settings.kind or type(source).__name__}): {coverage(known_V, words, tokens)}"
    if covered(known_V, words, tokens) < getattr(source, "few", 0.0):
        line += (
            "; the others start from random vectors. So few: vectors of another language, of words cut or "
            "lower-cased in another way (text.lowercase, text.split_identifiers), or a file that is cut short?"
        )
        log.warning(line)
    else:
        log.info(line)


def _mixed(
    mix: Mapping[str, Any],
    weight: float,
    own_VD: np.ndarray,
    words: Sequence[str],
    tokens: Tokens | None,
    seed: int,
    stem: str | None,
) -> np.ndarray:
    """Returns the vectors of `mix` [V, D], each `weight` times as long as the word's own.

    Fewer dimensions are turned into D by orthonormal directions drawn at random, which keep all angles.
    """
    other_VM = build(mix, words, tokens, seed, stem=stem)
    width, dim = other_VM.shape[1], own_VD.shape[1]
    turn_DM, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, width)))
    length_V1 = np.linalg.norm(own_VD, axis=1, keepdims=True)
    return (weight * length_V1 * (_unit(other_VM) @ turn_DM.T)).astype(np.float32)  # type: ignore[no-any-return]


def check_embedding(config: Mapping[str, Any] | EmbeddingSettings) -> EmbeddingSettings:
    """Reads an `embedding` group and builds its source, to check it.

    Raises:
        UserError: for a setting that is unknown or out of range.
    """
    settings = EmbeddingSettings.parse(config)
    mix = getattr(build_source(settings, seed=0), "mix", None)
    if mix is not None:
        mixed = check_embedding(mix)
        if mixed.target == EMBEDDINGS["lsa"]:
            raise UserError("embedding.mix is null or the keys of another choice, such as {kind: cbow}.")
        if mixed.dim > settings.dim:
            raise UserError(f"embedding.mix.dim={mixed.dim} is more than embedding.dim={settings.dim}.")
    return settings


def check_source(settings: EmbeddingSettings) -> None:
    """Checks that what an `embedding` group reads its vectors from is there and has their dimension.

    Raises:
        UserError: when it is not.
    """
    source = build_source(settings, seed=0)
    check, mix = getattr(source, "check", None), getattr(source, "mix", None)
    if check is not None:
        check()
    if mix is not None:
        check_source(EmbeddingSettings.parse(mix))
