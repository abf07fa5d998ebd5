"""Committed loss curves: a change of the maths in towers, losses, optimizer or batches shows here.

To renew them after a change that is meant to alter the numbers:
TWOTOWER_GOLDEN=write make test ARGS=tests/test_golden_losses.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir

from twotower.config.instantiate import instantiate, plain
from twotower.data.datamodule import RetrievalData, vocabulary_texts
from twotower.data.settings import DataSettings
from twotower.model.build import build_module
from twotower.text.build import train_tokenizer

GOLDEN = Path(__file__).parent / "golden"
CONF = Path(__file__).resolve().parents[2] / "conf"
OVERRIDES = [
    "embedding=random",
    "embedding.dim=32",
    "model.hidden_dim=32",
    "model.output_dim=32",
    "data.batch_size=24",
    "optimizer.lr=0.005",
    "optimizer.layers=1",
    "model.dropout=0",
    "model.word_dropout=0",
    "paths.run=unused",
]
EPOCHS = 4


class Losses(pl.Callback):
    """Writes down the loss of every step."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(float(pl_module.last_loss))


def curve(tiny_beir: Path, model: str, loss: str) -> list[float]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["data=beir", f"data.path={tiny_beir}", f"model={model}", f"loss={loss}", *OVERRIDES]
        config = plain(compose("train", overrides=overrides))
    pl.seed_everything(0, verbose=False)
    collection = instantiate(config["data"]["source"])
    tokenizer = train_tokenizer(vocabulary_texts(collection, "train"), config["text"])
    data = RetrievalData(
        collection=collection, tokenizer=tokenizer, settings=DataSettings.parse(config["data"]), seed=0
    )
    module = build_module(config, vocabulary_size=tokenizer.size, embedding_dim=32)
    losses = Losses()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=[losses],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
    )
    trainer.fit(module, datamodule=data)
    return losses.values


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
@pytest.mark.parametrize("model", ["gru", "mlp"])
def test_the_loss_curve_is_the_committed_one(tiny_beir, model, loss):
    torch.set_num_threads(1)
    values = curve(tiny_beir, model, loss)
    path = GOLDEN / f"{model}_{loss}.json"
    if os.environ.get("TWOTOWER_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps([round(value, 7) for value in values]) + "\n")
    golden = json.loads(path.read_text())
    assert len(golden) == EPOCHS * 10
    assert values == pytest.approx(golden, rel=1e-3, abs=1e-4)
    assert sum(values[-10:]) < 0.8 * sum(values[:10]), "the model learns"
