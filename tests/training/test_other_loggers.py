"""MLflow, Comet and Aim, each by its real package without an account, read back by that package or from its archive."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

import twotower
from twotower.core.errors import UserError

COLLECTION = Path(__file__).resolve().parents[1] / "old_run" / "collection"


def trained(logger: str, folder: Path, *changes: str) -> Path:
    overrides = [f"logger=[{logger}]", "data=beir", f"data.path={COLLECTION}", "pretrain=none", "index=none"]
    overrides += ["trainer.max_epochs=1", "embedding.dim=16", "model.output_dim=16", f"hydra.run.dir={folder}"]
    return twotower.train([*overrides, f"run_name=named-{logger}", "optimizer.lr=0.004", *changes], show=False).path


def test_mlflow_holds_settings_metrics_and_the_ending(tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow isn't installed")
    client = mlflow.MlflowClient(f"sqlite:///{trained('mlflow', tmp_path / 'run')}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("twotower").experiment_id])
    assert run.info.run_name == "named-mlflow"
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer/lr"] == "0.004"
    assert run.data.params["loss/_target_"].startswith("twotower.loss")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run.data.metrics["eval_full/mrr_10"] == pytest.approx(record["history"][-1]["metrics"]["full/mrr_10"])


def test_comet_writes_an_archive_to_upload_later(tmp_path):
    pytest.importorskip("comet_ml", reason="comet-ml isn't installed")
    trained("comet", tmp_path / "run")
    (archive,) = (tmp_path / "run" / "comet").glob("*.zip")
    with zipfile.ZipFile(archive) as file:
        messages = file.read("messages.json").decode()
        about = json.loads(file.read("experiment.json"))
    assert about["project_name"] == "twotower"
    assert "named-comet" in messages
    assert "eval_full/mrr_10" in messages
    assert "success" in messages


def runs_of_aim(repo: Path) -> list:
    """The runs in a repository, by Aim's own reader, after the indexing that `aim up` or `aim storage` does."""
    from aim import Repo
    from aim.cli.cli import cli_entry_point
    from click.testing import CliRunner

    done = CliRunner().invoke(cli_entry_point, ["storage", "--repo", str(repo), "reindex", "-y"])
    assert done.exit_code == 0, done.output
    return list(Repo(str(repo)).iter_runs())


def test_aim_holds_settings_metrics_and_the_ending(tmp_path, monkeypatch):
    pytest.importorskip("aim", reason="aim isn't installed")
    monkeypatch.setenv("DATABASE_URL", "postgres://me:hunter2hunter2@host/x")  # Aim itself would write it down
    trained("aim", tmp_path / "run")
    (run,) = runs_of_aim(tmp_path / "run")
    assert (run.name, run.experiment, run.active) == ("named-aim", "twotower", False)
    assert run["status"] == "success"
    assert run["hparams", "optimizer", "lr"] == 0.004
    assert run["hparams", "loss", "_target_"].startswith("twotower.loss")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    found = {metric.name: metric.values.last()[1] for metric in run.metrics()}
    assert found["eval_full/mrr_10"] == pytest.approx(record["history"][-1]["metrics"]["full/mrr_10"])
    files = [path for path in (tmp_path / "run" / ".aim").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if b"hunter2hunter2" in path.read_bytes()]


def test_aim_knows_of_a_failed_run(tmp_path):
    pytest.importorskip("aim", reason="aim isn't installed")
    with pytest.raises(UserError, match="no-such-folder"):
        trained(
            "aim",
            tmp_path / "run",
            f"data.path={tmp_path / 'no-such-folder'}",
            f"logger.aim.repo={tmp_path / 'all'}",
        )
    (run,) = runs_of_aim(tmp_path / "all")
    assert (run["status"], run.active) == ("failed", False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("logger.aim.repo=null", r"logger\.aim\.repo is empty"),
        ("+logger.aim.experiments=x", r"logger\.aim: .*unexpected keyword argument 'experiments'"),
        ("logger.aim.repo=aim://127.0.0.1:9", r"logger\.aim could not start \(Failed to connect to Aim Server"),
    ],
)
def test_what_aim_cannot_do_is_one_line(tmp_path, override, message):
    pytest.importorskip("aim", reason="aim isn't installed")
    with pytest.raises(UserError, match=message):
        trained("aim", tmp_path / "run", override)
