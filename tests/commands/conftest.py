import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fake():
    """The maker of invented run folders, shared with the tests of twotower/runs."""
    path = Path(__file__).parents[1] / "runs" / "fake_runs.py"
    spec = importlib.util.spec_from_file_location("fake_runs_for_commands", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sweep(fake, tmp_path_factory):
    """A folder with a finished sweep of twelve runs; not to be changed by a test."""
    return fake.make_sweep(tmp_path_factory.mktemp("commands"))


@pytest.fixture
def at_home(sweep, monkeypatch):
    """Makes the folder that holds multirun/ the one worked in."""
    monkeypatch.chdir(sweep.parents[1])
    return sweep.parents[1]
