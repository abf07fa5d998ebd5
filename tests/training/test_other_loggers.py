"""MLflow and Comet, each by its real package without an account, read back by that package or from its archive."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

import twotower

COLLECTION = Path(__file__).resolve().parents[1] / "old_run" / "collection"


def trained(logger: str, folder: Path) -> Path:
    overrides = [f"logger=[{logger}]", "data=beir", f"data.path={COLLECTION}", "pretrain=none", "index=none"]
    overrides += ["trainer.max_epochs=1", "embedding.dim=16", "model.output_dim=16", f"hydra.run.dir={folder}"]
    return twotower.train([*overrides, f"run_name=named-{logger}", "optimizer.lr=0.004"], show=False).path


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
