"""What W&B's agents put on the command line."""

import pytest

from twotower.config.agents import in_hydras_words, nested_hint, wants_whole


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("trainer.cache_chunk=None", "trainer.cache_chunk=null"),
        ("++run_name=None", "++run_name=null"),
        ("data.batch_size=32.0", "data.batch_size=32"),
        ("model.hidden_dim=256.0", "model.hidden_dim=256"),
        ("+index.faiss_hnsw.ef_search=64.0", "+index.faiss_hnsw.ef_search=64"),
        ("optimizer.lr=1.0", "optimizer.lr=1.0"),
        ("trainer.limit_train_batches=1.0", "trainer.limit_train_batches=1.0"),
        ("data.batch_size=32.5", "data.batch_size=32.5"),
        ("run_name='None'", "run_name='None'"),
        ("--config-dir=None", "--config-dir=None"),
        ("-m", "-m"),
        ("data.batch_size=32.0,64.0", "data.batch_size=32,64"),
        ("data.batch_size=choice(32.0, 64.0)", "data.batch_size=choice(32, 64)"),
        ("loss.dims=[64.0,128.0],None", "loss.dims=[64,128],null"),
        ("index.exact.dims=None,64.0", "index.exact.dims=null,64"),
        ("optimizer.lr=1.0,2.0", "optimizer.lr=1.0,2.0"),
        ("data.path=runs/None/x", "data.path=runs/None/x"),
        ("data.batch_size=32.0.1", "data.batch_size=32.0.1"),
        ("data.source.splits={dev: 2.0}", "data.source.splits={dev: 2.0}"),
    ],
)
def test_none_and_whole_floats(typed, expected):
    assert in_hydras_words([typed]) == [expected]


def test_nested_parameters_get_a_hint_at_dotted_keys():
    assert "optimizer.lr: {values" in nested_hint(["model=gru", "optimizer={'lr': 0.1, 'beta1': 0.9}"])
    assert "as optimizer.lr: {values" in nested_hint(["optimizer.lr={'value': 0.1}"])
    assert nested_hint(["data.source.splits={train: 0.9, dev: 0.1}"]) == ""


@pytest.mark.parametrize("key", ["data.batch_size", "embedding.dim", "trainer.threads", "seed", "evaluation.k"])
def test_whole_numbers_are_known_by_the_configs(key):
    assert wants_whole(key)


@pytest.mark.parametrize("key", ["optimizer.lr", "loss.temperature", "model.dropout", "data.allow_leak", "nothing"])
def test_other_values_are_left_alone(key):
    assert not wants_whole(key)
