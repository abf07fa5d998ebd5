"""`trust=` of the Python API: a file from elsewhere may name parts of the packages given, for that call alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

import twotower
from twotower.config.trust import VARIABLE, UntrustedError, trusting
from twotower.core.errors import UserError
from twotower.runs.find import find_checkpoint

OLD = Path(__file__).resolve().parents[1] / "old_run" / "mlp"
CODE = """
from twotower.index.exact import ExactIndex


class Words:
    def split(self, text):
        return text.lower().split()


class Index(ExactIndex):
    pass
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of another machine, whose index is of a class that its maker wrote."""
    (tmp_path / "api_parts.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "run"
    shutil.copytree(OLD, folder)
    path = folder / "index" / "exact" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["_target_"] = "api_parts.Index"
    path.write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def model(run, tmp_path):
    """An exported model whose texts are split by a class that its maker wrote."""
    content = torch.load(find_checkpoint(run), weights_only=True)
    content["training_stats"]["config"]["resolved"]["text"] = {"_target_": "api_parts.Words"}
    torch.save(content, tmp_path / "mine.pt")
    return tmp_path / "mine.pt"


def test_load_asks_for_trust_and_takes_it(model):
    with pytest.raises(UntrustedError, match="api_parts"):
        twotower.load(model)
    loaded = twotower.load(model, trust="api_parts")
    assert loaded.encode_queries(["two words"]).shape == (1, loaded.dim)
    assert VARIABLE not in os.environ
    with pytest.raises(UntrustedError):
        twotower.load(model)


def test_a_search_engine_asks_for_trust_and_takes_it(run):
    with pytest.raises(UntrustedError, match="api_parts"):
        twotower.SearchEngine.open(run, "exact")
    with pytest.raises(UntrustedError, match="api_parts"):
        twotower.SearchEngine.open(run, "exact", trust=["others"])
    engine = twotower.SearchEngine.open(run, "exact", trust=["api_parts"])
    assert type(engine.index).__module__ == "api_parts"
    assert engine.search("a", k=3).hits


def test_what_was_trusted_before_is_trusted_afterwards_and_no_more(monkeypatch):
    monkeypatch.setenv(VARIABLE, "before")
    with trusting("mine"):
        assert os.environ[VARIABLE] == "mine,before"
    assert os.environ[VARIABLE] == "before"
    with pytest.raises(UserError, match="name a package"), trusting("os"):
        pass
    assert os.environ[VARIABLE] == "before"
