from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twotower.kernels.threads import SPINS, let_threads_wait, set_aside

NEW = "no_module_of_this_name"


@pytest.fixture(autouse=True)
def _as_it_was():
    enabled = gc.isenabled()
    yield
    gc.unfreeze()
    (gc.enable if enabled else gc.disable)()


def test_what_is_loaded_is_set_aside_and_the_collector_goes_on():
    gc.unfreeze()
    with set_aside(NEW):
        assert not gc.isenabled()
        loaded = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(loaded)


def test_after_a_failure_the_collector_goes_on_and_nothing_is_set_aside():
    gc.unfreeze()
    with pytest.raises(ImportError), set_aside(NEW):
        raise ImportError("no such library")
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    with set_aside(NEW):
        pass
    assert not gc.isenabled()


def test_nothing_is_done_for_what_is_loaded_already():
    gc.unfreeze()
    with set_aside("pytest"):
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_composing_the_config_imports_neither_torch_nor_lightning():
    code = (
        "import sys, runpy; sys.argv = ['train.py', '--cfg', 'job']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print({'torch', 'pytorch_lightning', 'faiss', 'pandas'} & set(sys.modules), file=sys.stderr)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert "optimizer:" in done.stdout
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": SPINS}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_how_threads_wait_is_set_unless_the_user_has(monkeypatch, given, expected):
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    let_threads_wait()
    found = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.clear()
    os.environ.update(before)
    assert found == expected
