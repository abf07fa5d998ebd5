"""What decides whether a run is another one again: metrics to the last bit, and the facts that may explain a gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from twotower.core.errors import UserError
from twotower.runs.rerun import Recorded, differing_facts, differing_metrics, new_config, new_folder, provenance


def recorded(**config) -> Recorded:
    return Recorded(
        source=Path("run"),
        config={"paths": {"run": "/old"}, "ckpt_path": "last", "sweep": {"name": "s", "seeds": 3}, **config},
        choices={},
        overrides=[],
        facts={},
        evaluation={},
        checkpoint=None,
    )


def test_a_new_config_lives_in_its_own_folder_outside_the_sweep():
    config, _ = new_config(recorded(logger={"csv": {"save_dir": "/old"}}), [], Path("/new"))
    assert config["logger"]["csv"]["save_dir"] == "/new"
    assert config["paths"]["run"] == "/new"
    assert config["ckpt_path"] is None
    assert config["sweep"] == {"name": None, "seeds": 3}


def test_a_masked_secret_is_asked_for():
    with pytest.raises(UserError, match=r"index\.redis\.url .*='\$\{oc\.env:NAME\}'"):
        new_config(recorded(index={"redis": {"url": "redis://:***@host"}}), [], Path("/new"))
    given = ["index.redis.url=null"]
    assert new_config(recorded(index={"redis": {"url": "redis://:***@host"}}), given, Path("/new"))


def test_metrics_are_compared_to_the_last_bit():
    old = {"split": "dev", "full": {"metrics": {"mrr": {"value": 0.1}, "map": {"value": 0.2}, "x": {"value": None}}}}
    new = {"split": "dev", "full": {"metrics": {"mrr": {"value": 0.1 + 1e-16}, "x": {"value": None}}}}
    assert differing_metrics(old, old) == []
    assert [name for name, _, _ in differing_metrics(old, new)] == ["full/mrr", "full/map"]


def test_what_may_explain_a_difference_is_named_and_nothing_else():
    old = {
        "data": {"fingerprint": "a"},
        "vocabulary": {"hash": "v"},
        "versions": {"torch": "2.1", "gone": "1"},
        "host": {"name": "one", "platform": "linux", "cpus": 2, "pid": 5},
        "threads": 2,
        "device": "cpu",
        "git": {"commit": "0123456789ab", "dirty": False},
    }
    assert differing_facts(old, {**old, "host": {**old["host"], "pid": 6}}) == []
    new = {
        **old,
        "versions": {"torch": "2.2"},
        "host": {**old["host"], "cpus": 4},
        "threads": 1,
        "git": {"commit": "0123456789ab", "dirty": True},
    }
    named = {name: (before, after) for name, before, after in differing_facts(old, new)}
    assert named == {
        "version of torch": ("2.1", "2.2"),
        "version of gone": ("1", "none"),
        "number of CPUs": (2, 4),
        "threads": (2, 1),
        "commit": ("0123456789", "0123456789 with changes"),
    }
    assert differing_facts({}, new) == []


def test_what_an_export_carries_has_no_report(tmp_path):
    record = {"data": {"name": "n", "fingerprint": "f", "report": {"long": 1}}, "threads": 2, "history": []}
    assert provenance(record)["data"] == {"name": "n", "fingerprint": "f"}
    assert "history" not in provenance(record)


def test_two_folders_made_at_once_are_two(tmp_path):
    assert new_folder(tmp_path) != new_folder(tmp_path)


def test_a_masked_secret_is_given_again_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("A_KEY", "s3cret")
    config = {"logger": {"wandb": {"api_key": "***"}}, "seed": 0}
    recorded = Recorded(
        source=Path("x"), config=config, choices={}, overrides=[], facts={}, evaluation={}, checkpoint=None
    )
    changed, _ = new_config(recorded, ["logger.wandb.api_key='${oc.env:A_KEY}'"], tmp_path)
    assert changed["logger"]["wandb"] == {"api_key": "s3cret"}
    with pytest.raises(UserError, match="no environment variable NOT_THERE"):
        new_config(recorded, ["logger.wandb.api_key='${oc.env:NOT_THERE}'"], tmp_path)
    with pytest.raises(UserError, match="holds a secret"):
        new_config(recorded, ["logger.wandb.api_key=s3cret"], tmp_path)
