import importlib.util
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "analyse_multirun.ipynb"


@pytest.fixture(scope="module")
def fake():
    path = Path(__file__).parents[1] / "fake_runs.py"
    spec = importlib.util.spec_from_file_location("fake_runs_for_notebooks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(notebook, kind):
    return [
        out
        for cell in notebook.cells
        if cell.cell_type == "code"
        for out in cell.outputs
        if kind in out.get("data", {})
    ]


def execute(folder, monkeypatch):
    monkeypatch.setenv("TWOTOWER_RUNS", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return notebook


def test_it_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def test_it_runs_and_draws_everything(fake, tmp_path, monkeypatch):
    notebook = execute(fake.make_sweep(tmp_path, seeds=2), monkeypatch)
    assert len(outputs(notebook, "image/png")) == 8
    assert len(outputs(notebook, "text/html")) == 2 + 8 + 1  # two tables, the pictures, the library they need
    assert not any("cdn" in out["data"]["text/html"][:2000] for out in outputs(notebook, "text/html"))


def test_it_runs_on_a_single_run(fake, tmp_path, monkeypatch):
    fake.make_run(tmp_path / "only")
    assert outputs(execute(tmp_path, monkeypatch), "image/png")
