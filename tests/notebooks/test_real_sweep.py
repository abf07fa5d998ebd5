"""The notebook and the report on a sweep that was really trained: model x loss on a tiny collection."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.started import TRAIN, started

ROOT = Path(__file__).resolve().parents[2]
SMALL = "data=beir embedding=random embedding.dim=16 model.hidden_dim=16 model.output_dim=16 data.batch_size=24"
MORE = "trainer.max_epochs=2 trainer.enable_progress_bar=false trainer.threads=1 index=none sweep.name=real"


@pytest.fixture(scope="module")
def sweep(tiny_beir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    command = [TRAIN, "-m", "model=gru,mlp", "loss=contrastive,triplet"]
    command += [*SMALL.split(), *MORE.split(), f"data.path={tiny_beir}"]
    done = started(*command, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "multirun" / "real"


def test_four_complete_folders(sweep):
    records = [json.loads(path.read_text()) for path in sweep.glob("*/seed=0/run.json")]
    assert sorted((record["choices"]["model"], record["choices"]["loss"]) for record in records) == [
        ("gru", "contrastive"),
        ("gru", "triplet"),
        ("mlp", "contrastive"),
        ("mlp", "triplet"),
    ]
    assert all(record["ended"] and record["evaluation"] and record["sweep"]["name"] == "real" for record in records)


def test_the_notebook_runs_on_it(sweep, monkeypatch):
    monkeypatch.setenv("TWOTOWER_RUNS", str(sweep))
    notebook = nbformat.read(ROOT / "notebooks" / "analyse_multirun.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error"]
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 5


def test_the_report_is_one_file_readable_offline(sweep):
    done = started("-m", "twotower", "report", str(sweep), cwd=sweep)
    assert done.returncode == 0, done.stderr[-2000:]
    (page,) = sweep.glob("*.html")
    text = page.read_text()
    assert text.count('<figure role="img" aria-label=') >= 5
    assert 'src="http' not in text
    assert 'href="http' not in text
