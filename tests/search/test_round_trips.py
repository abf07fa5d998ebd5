"""What is written again, from a cache, a record or an exported model, finds what the first run found."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import twotower
from twotower.cli import index, rerun
from twotower.search.engine import SearchEngine

MODES = ("dense", "lexical", "hybrid")
QUERIES = ("doc3x1 only3n2", "noise7 doc11x0 doc11x3")
TINY = [
    *("data=beir", "trainer.max_epochs=1", "embedding.dim=16", "model.output_dim=16", "model.hidden_dim=16"),
    *("index=[exact,faiss_flat]", "pretrain=none"),
]


@pytest.fixture(scope="module")
def run(tiny_beir, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trips") / "run"
    return twotower.train([*TINY, f"data.path={tiny_beir}", f"hydra.run.dir={folder}"], show=False).path


def answers(folder: Path, name: str = "exact"):
    """Returns ids and scores of a few queries in every way of searching."""
    engine = SearchEngine.open(folder, name)
    found = {
        (mode, query): [(hit.doc_id, round(float(hit.score), 4)) for hit in engine.search(query, k=5, mode=mode).hits]
        for mode in MODES
        for query in QUERIES
    }
    assert all(found.values())
    return found


def build(folder: Path, *names: str) -> None:
    arguments = [part for name in names for part in ("--index", name)]
    result = CliRunner().invoke(index.command, ["--run", str(folder), *arguments], catch_exceptions=False)
    assert result.exit_code == 0


def test_an_index_that_is_built_again_finds_the_same(run, tmp_path, monkeypatch):
    before = {name: answers(run, name) for name in ("exact", "faiss_flat")}
    for number, lost in enumerate(("", "index/lexical", "index", "the cache")):
        copy = Path(shutil.copytree(run, tmp_path / str(number)))
        if lost.startswith("index"):
            shutil.rmtree(copy / lost)
        if lost == "the cache":
            shutil.rmtree(copy / "index")
            monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
        for _ in range(2):  # the second time from what the first left in the cache
            build(copy, *before)
            assert {name: answers(copy, name) for name in before} == before, lost


def test_a_run_again_from_its_folder_or_its_model_alone_finds_the_same(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = shutil.copy(next(run.glob("checkpoints/*.pt")), tmp_path / "alone.pt")
    for source in (run, model):
        result = CliRunner().invoke(rerun.command, [str(source)], catch_exceptions=False)
        assert "IDENTICAL" in result.output
        again = max(Path("outputs").glob("*/*"), key=os.path.getmtime)
        assert answers(again) == answers(run)
