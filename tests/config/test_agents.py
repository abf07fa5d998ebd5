"""What W&B's agents put on the command line."""

from pathlib import Path

import pytest
import yaml

from twotower.config.agents import WHOLE, WHOLE_ENDS, in_hydras_words, nested_hint

CONF = next(
    path for path in Path(__file__).resolve().parents[2].glob("**/conf/train.yaml") if "tests" not in path.parts
).parent


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
    ],
)
def test_none_and_whole_floats(typed, expected):
    assert in_hydras_words([typed]) == [expected]


def test_nested_parameters_get_a_hint_at_dotted_keys():
    assert "optimizer.lr: {values" in nested_hint(["model=gru", "optimizer={'lr': 0.1, 'beta1': 0.9}"])
    assert nested_hint(["data.source.splits={train: 0.9, dev: 0.1}"]) == ""


def whole_keys(node, prefix):
    for key, value in (node or {}).items():
        if isinstance(value, dict):
            yield from whole_keys(value, f"{prefix}{key}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{prefix}{key}"


@pytest.mark.parametrize("group", ["data", "text", "embedding", "model", "loss", "trainer", "evaluation", "callbacks"])
def test_every_whole_number_of_the_configs_is_known(group):
    skipped = {"trainer.limit_train_batches"}
    for path in (CONF / group).glob("*.yaml"):
        for key in whole_keys(yaml.safe_load(path.read_text(encoding="utf-8")), f"{group}."):
            assert key in WHOLE or key.rpartition(".")[2] in WHOLE_ENDS or key in skipped, (path.name, key)
