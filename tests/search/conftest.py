import importlib.util
import sys
from pathlib import Path

import pytest

FLAT = {"faiss_flat": {"_target_": "twotower.index.faiss.FaissIndex", "factory": "Flat"}}
EXACT = {"exact": {"_target_": "twotower.index.exact.ExactIndex", "device": "cpu"}}


@pytest.fixture(scope="session")
def small():
    """The maker of small runs."""
    path = Path(__file__).with_name("small_run.py")
    spec = importlib.util.spec_from_file_location("small_run", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("small_run", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def run_dir(small, tmp_path_factory):
    """A finished run with two indexes; not to be changed by a test."""
    return small.make_run(tmp_path_factory.mktemp("runs") / "small", small.collection(), {**FLAT, **EXACT})


@pytest.fixture(scope="session")
def engine(run_dir):
    from twotower.search.engine import SearchEngine

    return SearchEngine.open(run_dir)
