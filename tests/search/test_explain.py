"""What each word of a query brings."""

import shutil

import pytest

from twotower.search.engine import SearchEngine
from twotower.search.explain import word_effects


def test_the_effect_of_a_word_is_the_score_without_it(run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    engine = SearchEngine.open(tmp_path / "run", "exact")
    results = engine.search("invert a square matrix", 5)
    best = results.hits[0]
    effects = {effect.word: effect.change for effect in word_effects(engine, results, best.doc_id)}
    assert set(effects) == {"invert", "a", "square", "matrix"}
    without = {hit.doc_id: hit.score for hit in engine.search("invert a square", 100).hits}
    assert effects["matrix"] == pytest.approx(without[best.doc_id] - best.score)
    assert word_effects(engine, results, "no such document") == []
    assert word_effects(engine, engine.search("matrix", 5), best.doc_id) == []
