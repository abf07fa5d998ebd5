"""A run that learns nothing is told so at once, and its record says collapsed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from twotower.callbacks.health import Health
from twotower.config.instantiate import plain
from twotower.core.errors import UserError
from twotower.training.train import train

CONF = Path(__file__).resolve().parents[2] / "conf"
SMALL = [
    "data=beir",
    "embedding=random",
    "embedding.dim=16",
    "model.hidden_dim=16",
    "model.output_dim=16",
    "data.batch_size=24",
    "trainer.enable_progress_bar=false",
    "index=none",
]


def run(tiny_beir: Path, folder: Path, *overrides: str) -> dict:
    folder.mkdir(exist_ok=True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[*SMALL, f"data.path={tiny_beir}", f"paths.run={folder}", *overrides])
    train(plain(config), run_dir=folder, overrides=[], choices={"model": "mlp", "loss": "contrastive"})
    return json.loads((folder / "run.json").read_text())


def test_a_healthy_run_is_not_called_collapsed(tiny_beir, tmp_path):
    record = run(tiny_beir, tmp_path / "run", "trainer.max_epochs=3", "optimizer.lr=0.01")
    assert record["status"] == "finished"
    assert record["health"] == []


def test_a_loss_that_sits_at_ln_of_the_batch_is_stuck(tiny_beir, tmp_path):
    # a huge temperature makes all similarities count alike: the loss is ln(24) whatever the model does
    record = run(
        tiny_beir,
        tmp_path / "run",
        "trainer.max_epochs=4",
        "loss.temperature=1000",
        "optimizer.lr=1e-9",
        "callbacks.health.patience_steps=20",
    )
    assert record["status"] == "collapsed"
    assert f"{math.log(24):.3f}" in record["health"][0]
    assert len(record["history"]) == 4


def test_stop_ends_the_run_early(tiny_beir, tmp_path):
    record = run(
        tiny_beir,
        tmp_path / "run",
        "trainer.max_epochs=30",
        "loss.temperature=1000",
        "optimizer.lr=1e-9",
        "callbacks.health.patience_steps=20",
        "callbacks.health.stop=true",
        "callbacks.early_stopping.patience=100",
    )
    assert record["status"] == "collapsed"
    assert len(record["history"]) <= 4


def test_documents_that_are_all_alike_are_seen(tiny_beir, tmp_path, monkeypatch):
    from twotower.model.two_tower import TwoTower

    plain_documents = TwoTower.encode_documents

    def same(self, batch):
        vectors = plain_documents(self, batch)
        return torch.nn.functional.normalize(0.01 * vectors + torch.ones_like(vectors), dim=-1)

    monkeypatch.setattr(TwoTower, "encode_documents", same)
    record = run(tiny_beir, tmp_path / "run", "trainer.max_epochs=1")
    assert record["status"] == "collapsed"
    assert "mean cosine" in " ".join(record["health"])


def test_a_loss_that_is_no_number_stops_before_the_weights(tiny_beir, tmp_path, monkeypatch):
    from twotower.loss.contrastive import ContrastiveLoss

    whole = ContrastiveLoss.forward
    steps = []

    def broken(self, *arguments):
        steps.append(1)
        output = whole(self, *arguments)
        return output._replace(loss=output.loss * float("nan")) if len(steps) == 3 else output

    monkeypatch.setattr(ContrastiveLoss, "forward", broken)
    record = run(tiny_beir, tmp_path / "run", "trainer.max_epochs=5")
    assert record["status"] == "collapsed"
    assert "nan" in record["health"][0]
    assert len(record["history"]) == 1
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())


def test_patience_must_be_positive():
    with pytest.raises(UserError, match=r"callbacks\.health\.patience_steps=0"):
        Health(patience_steps=0)


def spoil_after(monkeypatch, epoch: int) -> None:
    """Makes a weight NaN after the last step of an epoch (1 is the first)."""
    from twotower.model.module import TwoTowerModule

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.trainer.is_last_batch and self.trainer.current_epoch + 1 == epoch:
            with torch.no_grad():
                self.model.query_tower.layers[0].weight[5] = float("nan")

    monkeypatch.setattr(TwoTowerModule, "on_train_batch_end", on_train_batch_end)


def test_weights_that_are_no_numbers_end_the_run_and_the_epoch_before_is_kept(tiny_beir, tmp_path, monkeypatch):
    spoil_after(monkeypatch, 3)
    record = run(tiny_beir, tmp_path / "run", "trainer.max_epochs=6", "optimizer.lr=0.01")
    assert record["status"] == "collapsed"
    assert "query_tower.layers.0.weight (1 of" in record["health"][0]
    assert len(record["history"]) == 3
    assert record["history"][2]["metrics"] == {}
    assert record["best_epoch"] in (1, 2)
    for name in ("last.ckpt", "best.ckpt"):
        content = torch.load(tmp_path / "run" / "checkpoints" / name, weights_only=True)
        assert content["epoch"] < 2
        assert all(bool(torch.isfinite(tensor).all()) for tensor in content["state_dict"].values())


def test_without_an_epoch_worth_keeping_nothing_is_exported(tiny_beir, tmp_path, monkeypatch):
    spoil_after(monkeypatch, 1)
    with pytest.raises(UserError, match="vectors are not finite"):
        run(tiny_beir, tmp_path / "run", "trainer.max_epochs=3")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "failed"
    assert "smaller optimizer.lr" in record["error"]["message"]
    assert not list((tmp_path / "run" / "checkpoints").glob("*.pt"))


def test_a_training_state_with_nan_is_not_gone_on_from(tiny_beir, tmp_path):
    from twotower.training.training_state import read_training_state

    run(tiny_beir, tmp_path / "run", "trainer.max_epochs=1")
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["model.embedding.weight"][3, 2] = float("inf")
    torch.save(content, path)
    with pytest.raises(UserError, match=r"last\.ckpt holds weights that are not finite: model\.embedding\.weight \(1"):
        read_training_state(path)
