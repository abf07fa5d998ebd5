"""A model's means are kept, and taken from there only where everything that decides them is the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.one_thread_more import one_thread_more
from tests.pretrain.test_crops import corpus, model
from twotower.core import cache
from twotower.core.errors import UserError
from twotower.data.collection import Collection, Judgements
from twotower.evaluation.reuse import FILE, KIND, key_of, measure_or_reuse
from twotower.evaluation.settings import EvaluationSettings

MEANS = {"full": {"mrr_10": 1 / 3, "ndcg_10": 0.1 + 0.2}, "rerank": {"mrr_10": 0.0}}
TOKENS = corpus(), corpus(seed=1)
COLLECTION = Collection(
    name="three",
    document_ids=["a", "b", "c"],
    titles=[""] * 3,
    texts=["one", "two", "three"],
    query_ids=["x", "y"],
    query_texts=["first", "second"],
    judgements={"dev": Judgements.of([0, 1], [0, 1], [1, 1]), "test": Judgements.of([0, 1], [0, 1], [1, 1])},
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))


def key(encoder=None, collection=COLLECTION, tokens=TOKENS, rows=(0, 1), split="dev", settings=None, **changed):
    given = {"model": {"num_layers": 0}, "precision": "32-true", **changed}
    settings = settings or EvaluationSettings()
    return key_of(encoder or model(), collection, tokens, np.array(rows), split, settings, **given)


def test_whatever_decides_the_means_makes_another_key():
    other = model()
    with torch.no_grad():
        other.embedding.weight[5, 3] += 1e-6
    settings = EvaluationSettings()
    keys = [
        key(),
        key(other),
        key(collection=replace(COLLECTION, judgements={"dev": Judgements.of([0, 1], [0, 2], [1, 1])})),
        key(tokens=TOKENS[::-1]),
        key(rows=(1,)),
        key(split="test"),
        key(settings=replace(settings, k=10)),
        key(settings=replace(settings, protocols="full")),
        key(settings=replace(settings, exclude_self=True)),
        key(model={"num_layers": 0, "output": "other"}),
        key(precision="bf16-mixed"),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
    with one_thread_more():
        assert key() != keys[0]


def test_what_may_change_under_its_name_is_measured_every_time(monkeypatch):
    encoder = model()
    encoder.extra = type("Own", (torch.nn.Module,), {})()
    assert key(encoder) is None
    assert key(settings=EvaluationSettings(metrics={"mine": {"_target_": "mine.Metric"}})) is None
    monkeypatch.setattr("twotower.evaluation.reuse.world_size", lambda: 2)
    assert key() is None
    assert measure_or_reuse(None, lambda: MEANS) == MEANS
    assert not cache.entries()


def test_the_second_time_gives_the_very_same_means_unmeasured():
    assert measure_or_reuse(key(), lambda: MEANS) == MEANS
    assert measure_or_reuse(key(), lambda: {}) == MEANS
    assert [entry.kind for entry in cache.entries()] == [KIND]


def test_a_failure_is_passed_on_and_leaves_nothing():
    def fail():
        raise UserError("nothing can be measured")

    with pytest.raises(UserError, match="nothing can be measured"):
        measure_or_reuse(key(), fail)
    assert not cache.entries()


@pytest.mark.parametrize("content", ["", "[]", '{"full": {"mrr_10": "much"}}', '{"full": {"mrr_10": null}}', "gone"])
def test_what_is_damaged_is_measured_anew_and_the_log_says_how_to_be_rid_of_it(content, caplog):
    measure_or_reuse(key(), lambda: MEANS)
    file = cache.entries()[0].path / FILE
    file.unlink() if content == "gone" else file.write_text(content)
    assert measure_or_reuse(key(), lambda: {"full": {"mrr_10": 0.5}}) == {"full": {"mrr_10": 0.5}}
    assert f"twotower cache clear {KIND}" in caplog.text


def test_a_cache_that_can_not_be_written_costs_the_measuring_alone(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "file"))
    assert measure_or_reuse(key(), lambda: MEANS) == MEANS


def test_a_disk_that_is_full_costs_nothing_more(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    times = []
    monkeypatch.setattr("twotower.evaluation.reuse.write_json", full)
    assert measure_or_reuse(key(), lambda: times.append(1) or MEANS) == MEANS
    assert times == [1]
    assert not cache.entries()
