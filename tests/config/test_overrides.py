"""Overrides on a recorded config: what they change, what follows, and what is refused with the nearest name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twotower.config.canonical import current_override
from twotower.config.instantiate import config_hash
from twotower.config.overrides import FOLLOWERS, relocated, vary
from twotower.core.errors import UserError
from twotower.runs.ledger import load

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {
    "model": {"dropout": 0.5, "hidden_dim": 256, "query_tower": "mlp"},
    "data": {"path": "old", "source": {"_target_": "twotower.data.beir.load", "path": "old"}},
    "callbacks": {"checkpoint": {"monitor": "eval_full/mrr_10"}, "early_stopping": {"monitor": "eval_full/mrr_10"}},
    "evaluation": {"objective": "full/mrr_10"},
    "paths": {"run": "/there/run"},
    "seed": 0,
}
CHOICES = {"model": "mlp"}


def varied(*overrides: str):
    return vary(CONFIG, CHOICES, overrides)[0]


def test_keys_change_and_the_original_stays():
    config = varied("model.dropout=.2", "seed=3")
    assert (config["model"]["dropout"], config["seed"]) == (0.2, 3)
    assert (CONFIG["model"]["dropout"], CONFIG["seed"]) == (0.5, 0)


def test_keys_written_in_terms_of_another_follow_it():
    config = varied("data.path=new", "evaluation.objective=rerank/map")
    assert config["data"]["source"]["path"] == "new"
    assert {item["monitor"] for item in config["callbacks"].values()} == {"eval_rerank/map"}
    assert "early_stopping" not in varied("~callbacks.early_stopping", "evaluation.objective=full/map")["callbacks"]


def test_what_follows_keeps_its_kind():
    config = {**CONFIG, "trainer": {"cache_chunk": None}, "loss": {"chunk": None}}
    changed, _ = vary(config, CHOICES, ["trainer.cache_chunk=64"])
    assert changed["loss"]["chunk"] == 64
    swapped, _ = vary(config, CHOICES, ["trainer.cache_chunk=64", "loss=contrastive"])
    assert swapped["loss"]["chunk"] == 64


def test_the_followers_are_all_there_are_in_conf():
    found = set()
    for path in (ROOT / "conf").rglob("*.yaml"):
        if path.is_relative_to(ROOT / "conf" / "hydra"):
            continue
        for name in re.findall(r"\$\{([a-z][\w.]*)\}", path.read_text(encoding="utf-8")):
            found.add((path.parent.name, name))
    assert {name for _, name in found} <= {*FOLLOWERS, "paths.run", "sweep.name", "seed"}
    assert {group for group, name in found if name == "data.path"} <= {"data"}
    assert {group for group, name in found if name == "evaluation.objective"} <= {"callbacks"}


def test_a_group_is_swapped_as_conf_has_it_and_keys_change_what_it_brings():
    config, choices = vary(CONFIG, CHOICES, ["model.hidden_dim=7", "model=gru"])
    assert config["model"]["query_tower"]["_target_"] == "twotower.model.rnn.GruTower"
    assert config["model"]["hidden_dim"] == 7
    assert choices == {"model": "gru"}


def test_a_swapped_data_group_keeps_the_path():
    assert varied("data=beir")["data"]["source"]["path"] == "old"


def test_adding_and_removing():
    assert varied("+model.extra=[1,2]")["model"]["extra"] == [1, 2]
    assert "hidden_dim" not in varied("~model.hidden_dim")["model"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.droput=.2", "Did you mean 'model.dropout'"),
        ("hiden_dim=2", "Did you mean 'model.hidden_dim'"),
        ("model=grru", "Did you mean 'gru'"),
        ("model=3", "group"),
        ("model.dropout=.1,.2", "python train.py -m"),
        ("model.dropout", "not an override"),
        ("paths.run=x", "anew"),
        ("data.source=x", "group of keys"),
        ("~model.nothing", "no key 'model.nothing'"),
    ],
)
def test_what_is_refused(override, told):
    with pytest.raises(UserError, match=re.escape(told)) as error:
        varied(override)
    assert "\n" not in str(error.value)


def test_paths_move_with_the_folder_and_others_stay():
    value = {"a": "/there/run", "b": ["/there/run/x", "/there/run2", "other"], "c": 1}
    assert relocated(value, "/there/run", "/new") == {"a": "/new", "b": ["/new/x", "/there/run2", "other"], "c": 1}
    assert relocated(value, None, "/new") == value
    addresses = ["sqlite:////there/run/mlflow.db", "file:///there/run", "redis://there/run", "sqlite:////there/run2"]
    moved = ["sqlite:////new/mlflow.db", "file:///new", "redis://there/run", "sqlite:////there/run2"]
    assert relocated(addresses, "/there/run", "/new") == moved


def test_keys_of_earlier_versions_are_understood(fake, tmp_path):
    old = {"embedding": {"kind": "cbow", "learn_from": 0.05}, "seed": 0}
    new = {"embedding": {"kind": "cbow", "alpha": 0.05}, "seed": 0}
    assert config_hash(old) == config_hash(new)
    assert config_hash({**new, "embedding": {"kind": "cbow", "alpha": 0.1}}) != config_hash(new)
    assert vary(old, {}, [])[0] == new
    assert vary(old, {}, ["embedding.learn_from=.1"])[0]["embedding"] == {"kind": "cbow", "alpha": 0.1}
    assert vary(new, {}, ["embedding.alpha=.1"])[0]["embedding"] == {"kind": "cbow", "alpha": 0.1}
    assert current_override("++embedding.learn_from=.1,.2") == "++embedding.alpha=.1,.2"
    assert current_override("--multirun") == "--multirun"
    for name, embedding in (("old", old["embedding"]), ("new", new["embedding"])):
        fake.make_run(tmp_path / name, files=False, embedding=embedding)
    for term in ("embedding.learn_from=.05", "learn_from=.05", "alpha=.05"):
        assert len(load(tmp_path, where=[term])) == 2
