from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twotower.config.names import EMBEDDINGS
from twotower.core.cache import cache_root
from twotower.core.errors import UserError
from twotower.core.ragged import to_offsets
from twotower.embedding.build import build, coverage, shape_vectors
from twotower.text.tokens import Tokens


def corpus(texts: int = 400) -> Tokens:
    """Words 2-9 keep company with each other, and words 10-17 do; 18 and 19 never occur."""
    generator = np.random.default_rng(0)
    rows = [generator.choice(np.arange(2, 10) if number % 2 else np.arange(10, 18), 12) for number in range(texts)]
    return Tokens(ids_T=np.concatenate(rows).astype(np.int32), offsets=to_offsets(np.full(texts, 12)))


WORDS = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(18))]


@pytest.mark.parametrize("kind", ["random", "cbow", "skipgram"])
def test_deterministic_of_length_about_one_and_padding_is_zero(kind: str) -> None:
    config = {"kind": kind, "dim": 16}
    first, second, other = (build(config, WORDS, corpus(), seed) for seed in (1, 1, 2))
    assert first.dtype == np.float32
    assert first.shape == (20, 16)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)
    assert not first[0].any()
    assert np.linalg.norm(first[1:], axis=1).mean() == pytest.approx(1, abs=0.3)


def test_shaping_removes_common_directions_and_adds_a_part_of_its_own() -> None:
    generator = np.random.default_rng(0)
    common, random = generator.standard_normal(12), generator.standard_normal((500, 12)) / 12**0.5
    found = generator.standard_normal((500, 12)) + 20 * generator.random((500, 1)) * common + 5
    shaped = shape_vectors(found, random, top=1, own=0)
    np.testing.assert_allclose(np.linalg.norm(shaped, axis=1), 1, atol=1e-5)
    _, _, directions = np.linalg.svd(found - found.mean(0), full_matrices=False)
    assert np.abs(shaped @ directions[0]).max() < 1e-5
    mixed = shape_vectors(found, random, top=1, own=1.0)
    assert np.mean(np.sum(mixed * shaped, 1)) == pytest.approx(0.5**0.5, abs=0.05)
    untouched = shape_vectors(found, random, top=0, own=0)
    np.testing.assert_allclose(untouched, found / np.linalg.norm(found, axis=1, keepdims=True), atol=1e-6)


def test_principal_components_are_found_once_for_the_same_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    found, random = generator.standard_normal((60, 6)) + 3, generator.standard_normal((60, 6))
    first = shape_vectors(found, random, top=2, own=1.0)

    def refuse(*_: object) -> None:
        raise AssertionError("decomposed again")

    monkeypatch.setattr(np.linalg, "eigh", refuse)
    np.testing.assert_array_equal(shape_vectors(found, random, top=2, own=1.0), first)
    for top, other in ((3, found), (2, found + found**2)):
        with pytest.raises(AssertionError, match="decomposed again"):
            shape_vectors(other, random, top=top, own=1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("twotower.embedding.build.NUMPY_THREADS", ["77", None, None, 1]),
        ("numpy.__version__", "0.1"),
        ("twotower.kernels.cpu.processor_name", lambda: "another"),
    ],
)
def test_principal_components_are_those_of_these_threads_this_numpy_and_this_processor(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = np.random.default_rng(len(name)).standard_normal((60, 6))
    shape_vectors(found, found, top=2, own=0)
    before = len(list((cache_root() / "word_vector_directions").glob("*/directions.npy")))
    monkeypatch.setattr(name, value)
    shape_vectors(found, found, top=2, own=0)
    assert len(list((cache_root() / "word_vector_directions").glob("*/directions.npy"))) == before + 1


def test_principal_components_are_found_where_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = np.random.default_rng(8).standard_normal((60, 6))
    expected = shape_vectors(found, found, top=2, own=0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "file"))
    with caplog.at_level("INFO"):
        np.testing.assert_array_equal(shape_vectors(found, found, top=2, own=0), expected)
    assert "are not kept. Cannot create the cache folder" in caplog.text


def test_shaping_leaves_a_direction_where_more_are_asked_for_than_there_are() -> None:
    generator = np.random.default_rng(6)
    for dim in (1, 3):
        found = generator.standard_normal((50, dim))
        shaped = shape_vectors(found, found, top=32, own=0)
        np.testing.assert_allclose(np.linalg.norm(shaped, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["cbow", "skipgram"])
def test_trained_vectors_know_which_words_keep_company(kind: str) -> None:
    vectors = build({"kind": kind, "dim": 8, "epochs": 20, "own": 0.0, "remove_top": 0}, WORDS, corpus(), 0)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    cosine = unit @ unit.T
    inside = cosine[2:10, 2:10][~np.eye(8, dtype=bool)].mean()
    across = cosine[2:10, 10:18].mean()
    assert inside > across + 0.3


def test_trained_vectors_are_cached_by_content() -> None:
    def folders() -> set[str]:
        return {path.name for path in (cache_root() / "word_vectors").glob("*") if path.is_dir()}

    config = {"kind": "cbow", "dim": 6}
    build(config, WORDS, corpus(), 3)
    before = folders()
    build({**config, "freeze": True, "learning_rate": 0.1}, WORDS, corpus(), 3)
    assert folders() == before
    build({**config, "window": 2}, WORDS, corpus(), 3)
    build(config, WORDS, corpus(401), 3)
    assert len(folders() - before) == 2


def test_coverage_counts_words_and_tokens() -> None:
    tokens = Tokens(ids_T=np.array([2, 2, 2, 3], dtype=np.int32), offsets=np.array([0, 4]))
    assert coverage(np.array([2]), WORDS, tokens) == "1 of 20 words (5.0%), 75.0% of the corpus"


def test_an_empty_corpus_still_gives_vectors() -> None:
    empty = Tokens(ids_T=np.zeros(0, dtype=np.int32), offsets=np.zeros(1, dtype=np.int64))
    assert np.isfinite(build({"kind": "cbow", "dim": 4}, WORDS, empty, 0)).all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "cbov"}, "Did you mean 'cbow'"),
        ({"kind": "random", "dim": 0}, r"embedding\.dim=0"),
        ({"kind": "random", "window": 3}, r"embedding\.window is no setting"),
        ({"kind": "cbow", "epochs": 0}, r"embedding\.epochs=0"),
        ({"kind": "random", "distribution": "gauss"}, r"embedding\.distribution=gauss"),
        ({"kind": "random", "learning_rate": -1.0}, r"embedding\.learning_rate=-1"),
        ({"kind": "glove", "dim": 300}, r"embedding\.dim=300 .*set 50"),
        ({"kind": "cbow", "remove_top": -1}, r"embedding\.remove_top=-1"),
        ({"kind": "cbow", "own": -0.5}, r"embedding\.own=-0\.5"),
        ({"kind": "file"}, r"embedding\.path=FILE"),
    ],
)
def test_bad_values_are_named(config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(config, WORDS, corpus(), 0)


def test_every_kind_is_listed() -> None:
    assert set(EMBEDDINGS) == {"random", "cbow", "skipgram", "lsa", "glove", "file"}
