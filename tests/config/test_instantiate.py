"""Config to plain data, hash and objects."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from twotower.config.instantiate import config_hash, instantiate, plain
from twotower.core.errors import UserError


def test_a_nested_target_is_checked_too():
    with pytest.raises(UserError, match=r"inner\[0\]\._target_=os\.system"):
        instantiate(
            {"_target_": "twotower.loss.margin.MarginLoss", "inner": [{"_target_": "os.system", "command": "true"}]}
        )


def test_builds_with_plain_containers():
    config = OmegaConf.create({"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "x", "patience": 7})
    stopping = instantiate(config, mode="max")
    assert (stopping.patience, stopping.mode) == (7, "max")


def test_a_wrong_argument_is_the_user_s_mistake():
    with pytest.raises(UserError, match="nam"):
        instantiate({"_target_": "pytorch_lightning.callbacks.EarlyStopping", "nam": "x"})


def test_a_missing_value_is_named():
    with pytest.raises(UserError, match=r"data\.path"):
        plain(OmegaConf.create({"data": {"path": "???"}}))


def test_the_hash_ignores_where_and_how_a_run_is_watched():
    base = {"seed": 0, "model": {"hidden_dim": 4}, "run_name": None, "logger": {}, "paths": {"run": "a"}}
    assert config_hash(base) == config_hash({**base, "run_name": "x", "paths": {"run": "b"}, "logger": {"csv": 1}})
    assert config_hash(base) != config_hash({**base, "seed": 1})
    assert config_hash(base) != config_hash({**base, "model": {"hidden_dim": 5}})
