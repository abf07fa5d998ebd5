"""What the corpus taught is kept, and taken over only where everything that decides it is the same."""

from __future__ import annotations

import pytest
import torch

from tests.one_thread_more import one_thread_more
from tests.pretrain.test_crops import QUICK, SIZE, corpus, model
from twotower.core import cache
from twotower.core.errors import UserError
from twotower.pretrain.crops import Crops
from twotower.pretrain.reuse import KIND, WEIGHTS, key_of, train_or_reuse


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))


def key(encoder=None, method=None, documents=None, **changed):
    given = {"model": {"num_layers": 0}, "size": SIZE, "seed": 0, "groups": None, **changed}
    return key_of(method or Crops(**QUICK), encoder or model(), documents or corpus(), **given)


def learn(encoder, **settings):
    method = Crops(**{**QUICK, **settings})
    options = {"size": SIZE, "seed": 0, "groups": None}
    trained = []

    def train():
        trained.append(1)
        return method.run(encoder, corpus(), **options)

    told = train_or_reuse(encoder, key_of(method, encoder, corpus(), model={}, **options), train)
    return told, len(trained)


def test_the_second_run_takes_over_the_very_same_weights():
    first, second = model(), model()
    (told, trained), (again, repeated) = learn(first), learn(second, mix=0.7)
    assert (trained, told["reused"], repeated, again["reused"]) == (1, False, 0, True)
    assert {**told, "reused": True} == again
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert not torch.equal(first.embedding.weight, model().embedding.weight)


def test_whatever_decides_the_weights_makes_another_key():
    other = model()
    with torch.no_grad():
        other.embedding.weight[5, 3] += 1e-6
    frozen = model()
    frozen.embedding.weight.requires_grad_(False)
    keys = [
        key(),
        key(other),
        key(frozen),
        key(method=Crops(**{**QUICK, "lr": 0.02})),
        key(documents=corpus(seed=1)),
        key(seed=1),
        key(groups=torch.zeros(64).numpy()),
        key(model={"num_layers": 1}),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == key(model(sparse=True)) == keys[0]  # rows alone have gradients in either case
    with one_thread_more():
        assert key() != keys[0]


def test_towers_and_methods_of_ones_own_are_trained_every_time():
    encoder = model()
    encoder.extra = type("Own", (torch.nn.Module,), {})()
    assert key(encoder) is None
    assert key(method=object()) is None
    assert train_or_reuse(encoder, None, lambda: {"steps": 1}) == {"steps": 1, "reused": False}


def test_a_failure_leaves_nothing_and_damage_is_named():
    def fail():
        raise UserError("diverged")

    with pytest.raises(UserError, match="diverged"):
        train_or_reuse(model(), "a" * 8, fail)
    assert not cache.entries()
    learn(model())
    entry = cache.entries()[0]
    assert entry.kind == KIND
    (entry.path / WEIGHTS).write_bytes(b"short")
    with pytest.raises(UserError, match="twotower cache clear pretrained"):
        learn(model())


def test_a_cache_that_can_not_be_written_costs_the_training_alone(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "file"))
    assert learn(model())[0]["reused"] is False
