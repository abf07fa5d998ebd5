import pytest


@pytest.fixture
def at_home(sweep, monkeypatch):
    """Makes the folder that holds multirun/ the one worked in."""
    monkeypatch.chdir(sweep.parents[1])
    return sweep.parents[1]
