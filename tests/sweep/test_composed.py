"""A job's config that is handed out again is what Hydra would compose anew."""

from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

import twotower.cli.train  # noqa: F401 - registers the resolver that names job folders
from twotower.sweep import composed

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture
def loader():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().hydra.config_loader


@pytest.fixture
def counted(loader, monkeypatch):
    """The loader made to remember, and the overrides of every job that was really composed."""
    compose, seen = loader.load_sweep_config, []

    def counting(master_config, sweep_overrides):
        seen.append(tuple(sweep_overrides))
        return compose(master_config, sweep_overrides)

    monkeypatch.setattr(loader, "load_sweep_config", counting)
    composed.compose_once(loader)
    return loader, seen


def master(loader, *overrides):
    base = ["sweep.name=a", "sweep.session=s", "model=gru,mlp", *overrides]
    return loader.load_configuration("train", base, run_mode=RunMode.MULTIRUN)


def job(model, lr):
    return ["sweep.name=a", "sweep.session=s", f"model={model}", f"optimizer.lr={lr}"]


def plain(config):
    return OmegaConf.to_container(config, resolve=False)


def test_the_second_asker_gets_an_equal_config_without_composing(counted):
    loader, seen = counted
    sweep = master(loader)
    checked = {model: plain(loader.load_sweep_config(sweep, job(model, 0.01))) for model in ("gru", "mlp")}
    assert checked["gru"] != checked["mlp"]
    assert len(seen) == 2
    again = {model: loader.load_sweep_config(sweep, job(model, 0.01)) for model in ("gru", "mlp")}
    assert len(seen) == 2
    assert {model: plain(config) for model, config in again.items()} == checked
    assert again["gru"].hydra.runtime.choices["model"] == "gru"
    with open_dict(again["gru"]):
        again["gru"].hydra.job.num = 7
    third = loader.load_sweep_config(sweep, job("gru", 0.01))
    assert plain(third) == checked["gru"]  # what the launcher wrote into its copy is not in it
    assert len(seen) == 3


def test_other_overrides_and_other_sweeps_are_composed(counted):
    loader, seen = counted
    loader.load_sweep_config(master(loader), job("gru", 0.01))
    assert loader.load_sweep_config(master(loader), job("gru", 0.02)).optimizer.lr == 0.02
    quiet = loader.load_sweep_config(master(loader, "hydra.verbose=true"), job("gru", 0.01))
    assert quiet.hydra.verbose is True
    assert len(seen) == 3


def test_no_more_than_so_many_wait(counted, monkeypatch):
    loader, seen = counted
    monkeypatch.setattr(composed, "KEPT", 1)
    sweep = master(loader)
    for _ in range(2):
        for model in ("gru", "mlp"):
            loader.load_sweep_config(sweep, job(model, 0.01))
    assert [overrides[2] for overrides in seen] == ["model=gru", "model=mlp", "model=mlp"]
