"""Every YAML of the data and text rooms fits the code that reads it."""

import importlib
import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from twotower.config.names import TOKENIZER
from twotower.data import negatives
from twotower.data.settings import DataSettings, NegativeSettings
from twotower.text.settings import TextSettings

CONF = Path(__file__).resolve().parents[2] / "conf"
DATA = sorted(path.stem for path in (CONF / "data").glob("*.yaml") if path.stem != "base")


def composed(name):
    base, own = (OmegaConf.load(CONF / "data" / f"{stem}.yaml") for stem in ("base", name))
    assert own.pop("defaults") == ["base"]
    return OmegaConf.merge(base, own)


@pytest.mark.parametrize("name", DATA)
def test_data_choices_have_every_setting_and_a_source_that_takes_its_keys(name):
    config = composed(name)
    assert set(config) == {item.name for item in fields(DataSettings)}
    DataSettings.parse(OmegaConf.to_container(config))
    module, _, function = config.source._target_.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    assert set(config.source) - {"_target_"} <= set(parameters)


def test_negatives_in_the_base_are_valid(collection):
    config = OmegaConf.to_container(OmegaConf.load(CONF / "data" / "base.yaml"))
    assert negatives.build(NegativeSettings.parse(config["negatives"]), collection, "train") is None


@pytest.mark.parametrize("name", ["words", "wordpiece"])
def test_text_choices_name_every_setting(name):
    config = OmegaConf.to_container(OmegaConf.load(CONF / "text" / f"{name}.yaml"))
    assert config.pop("_target_") == TOKENIZER
    assert set(config) == {item.name for item in fields(TextSettings)}
    assert TextSettings.parse(config).kind == name
