"""What every test shares: one thread per process, a cache of its own, no network services."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Points every test at a cache of this session, so nothing of the user's is read or written."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["TWOTOWER_CACHE"] = str(folder)
    yield folder


@pytest.fixture(scope="session")
def shared_data():
    """Gives the folder of a real collection by name; skips, saying so, where the collections are not at hand."""

    def folder(name: str) -> Path:
        path = SHARED / name
        if not path.is_dir():
            pytest.skip(f"the real collection {name} is not beside this checkout")
        return path

    return folder
