import importlib.util
import sys
from pathlib import Path

import pytest


def _load():
    spec = importlib.util.spec_from_file_location("fake_runs", Path(__file__).with_name("fake_runs.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("fake_runs", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake():
    """The maker of invented run folders."""
    return _load()


@pytest.fixture(scope="session")
def sweep(fake, tmp_path_factory):
    """Twelve finished runs, gru and mlp x contrastive and triplet x three seeds; not to be changed by a test."""
    return fake.make_sweep(tmp_path_factory.mktemp("shared"))
