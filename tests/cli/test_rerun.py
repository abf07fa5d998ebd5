"""`twotower rerun` on a real small run: the same again to the last bit, refused on other data, varied on request."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from tests.started import TRAIN, started

SMALL = [
    "data=beir",
    "embedding=random",
    "embedding.dim=32",
    "model.hidden_dim=32",
    "model.output_dim=32",
    "data.batch_size=24",
    "optimizer.lr=0.01",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=2",
    "index=[exact]",
]


def start(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return started(*command, cwd=folder, environment={**os.environ, "COLUMNS": "200", **environment})


def rerun(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return start(folder, "-m", "twotower", "rerun", *arguments, **environment)


def runs_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("outputs/*/*/run.json"))


@pytest.fixture(scope="module")
def trained(tiny_beir, tmp_path_factory):
    """A folder to work in, with a copy of the data and one finished run of it."""
    folder = tmp_path_factory.mktemp("rerun")
    shutil.copytree(tiny_beir, folder / "data")
    done = start(folder, TRAIN, *SMALL, "data.path=data")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, runs_in(folder)[0]


@pytest.fixture
def elsewhere(trained, tmp_path):
    """Another folder to work in, with a copy of the data and nothing but the exported model."""
    folder, run = trained
    shutil.copytree(folder / "data", tmp_path / "data")
    exported = next((run / "checkpoints").glob("two_tower_best_*.pt"))
    shutil.copy(exported, tmp_path / exported.name)
    return tmp_path, exported.name


def test_a_run_folder_gives_the_same_weights_and_metrics_again(trained):
    folder, run = trained
    done = rerun(folder, str(run))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "IDENTICAL to" in " ".join(done.stdout.split())
    new = runs_in(folder)[-1]
    assert new != run
    before, after = (json.loads((path / "run.json").read_text()) for path in (run, new))
    assert after["status"] == "finished"
    assert after["rerun_of"]["path"] == str(run)
    assert after["config_hash"] == before["config_hash"] == after["rerun_of"]["config_hash"]
    assert after["overrides"] == before["overrides"]
    assert after["precision"] == before["precision"] == after["rerun_of"]["precision"]
    assert after["evaluation"] == before["evaluation"]
    assert Path(after["config"]["paths"]["run"]) == new.resolve()
    assert {"config.yaml", "overrides.yaml"} <= {path.name for path in (new / ".hydra").iterdir()}
    assert (new / "train.log").is_file()
    states = [
        torch.load(next((path / "checkpoints").glob("two_tower_best_*.pt")), weights_only=True)["model_state_dict"]
        for path in (run, new)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_exported_model_alone_is_enough(elsewhere):
    folder, exported = elsewhere
    done = rerun(folder, exported)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "IDENTICAL to" in " ".join(done.stdout.split())
    assert "Note" not in done.stderr
    record = json.loads((runs_in(folder)[0] / "run.json").read_text())
    assert record["rerun_of"]["path"] == exported


def test_a_changed_collection_is_named_before_training_and_trained_on_request(elsewhere):
    folder, exported = elsewhere
    corpus = folder / "data" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("only0n0", "only0n0 doc1x1"))
    refused = rerun(folder, exported)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert "data of data is not what" in refused.stderr
    assert not runs_in(folder)
    assert not (folder / "outputs").exists()
    trained = rerun(folder, exported, "--anyway")
    assert trained.returncode == 1, trained.stderr[-3000:]
    told = " ".join(trained.stdout.split())
    assert "NOT IDENTICAL" in told
    assert "because? data was" in told
    assert "embedding.weight" in told


def test_a_damaged_model_is_named_before_training(trained, tmp_path):
    folder, run = trained
    shutil.copytree(folder / "data", tmp_path / "data")
    shutil.copytree(run, tmp_path / "old")
    exported = next((tmp_path / "old" / "checkpoints").glob("two_tower_best_*.pt"))
    exported.write_bytes(exported.read_bytes()[:1000])
    done = rerun(tmp_path, "old")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "may be cut short" in done.stderr
    assert "--anyway trains without" in done.stderr
    assert not (tmp_path / "outputs").exists()
    done = rerun(tmp_path, "old", "--anyway")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nothing to compare with" in done.stdout
    assert len(runs_in(tmp_path)) == 1


def test_a_variation_changes_what_is_asked_and_nothing_else(trained):
    folder, run = trained
    done = rerun(folder, str(run), "model.dropout=.2", "loss=triplet")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "twotower compare" in done.stdout
    before, after = (json.loads((path / "run.json").read_text()) for path in (run, runs_in(folder)[-1]))
    assert after["config"]["model"] == {**before["config"]["model"], "dropout": 0.2}
    assert after["config"]["loss"]["_target_"].endswith("TripletLoss")
    assert after["choices"] == {**before["choices"], "loss": "triplet"}
    assert after["rerun_of"]["overrides"] == ["model.dropout=.2", "loss=triplet"]
    same = [key for key in before["config"] if key not in ("model", "loss", "paths", "logger")]
    assert {key: after["config"][key] for key in same} == {key: before["config"][key] for key in same}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["model.droput=.2"], "'model.dropout'"),
        (["model=grru"], "'gru'"),
        (["model.dropout=.1,.2"], "train -m model.dropout"),
        (["++trainer.strategy=ddp"], "repeat it with: "),
        (["model.dropout=2"], None),
    ],
)
def test_a_bad_override_is_one_line(trained, arguments, told):
    folder, run = trained
    before = runs_in(folder)
    done = rerun(folder, str(run), *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    if told is not None:
        assert done.stderr.count("\n") == 1, done.stderr
        assert told in done.stderr
        assert runs_in(folder) == before


def test_check_trains_nothing(trained):
    folder, run = trained
    before = runs_in(folder)
    done = rerun(folder, str(run), "--check")
    assert done.returncode == 0
    assert "as they were" in done.stdout
    assert runs_in(folder) == before
