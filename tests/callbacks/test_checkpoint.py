"""Lightning's checkpoints are whole or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir

from twotower.callbacks.checkpoint import AtomicCheckpoints
from twotower.config import plain


def test_a_checkpoint_is_read_back(tmp_path):
    AtomicCheckpoints().save_checkpoint({"a": torch.arange(3)}, tmp_path / "x.ckpt")
    assert torch.equal(torch.load(tmp_path / "x.ckpt", weights_only=True)["a"], torch.arange(3))


def test_no_room_is_one_clear_line_and_keeps_the_checkpoint_before(tmp_path):
    AtomicCheckpoints().save_checkpoint({"a": torch.arange(3)}, tmp_path / "x.ckpt")
    script = (
        "import resource, signal, torch\n"
        "from twotower.callbacks.checkpoint import AtomicCheckpoints\n"
        "from twotower.errors import UserError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))\n"
        "try:\n"
        f"    AtomicCheckpoints().save_checkpoint({{'a': torch.zeros(100000)}}, {str(tmp_path / 'x.ckpt')!r})\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.startswith("Cannot write"), done.stderr
    assert len(torch.load(tmp_path / "x.ckpt", weights_only=True)["a"]) == 3
    assert os.listdir(tmp_path) == ["x.ckpt"]


@pytest.mark.parametrize("scheduler", ["cosine", "reduce_on_plateau"])
def test_every_epoch_is_the_last_whether_it_was_evaluated_or_not(tiny_beir, tmp_path, scheduler):
    conf = Path(__file__).resolve().parents[2] / "conf"
    settings = ["data=beir", f"data.path={tiny_beir}", "embedding=random", "embedding.dim=16", "index=none"]
    settings += ["model.hidden_dim=16", "model.output_dim=16", "data.batch_size=24", f"scheduler={scheduler}"]
    settings += ["callbacks.evaluate.every_n_epochs=3", "trainer.max_epochs=8", "trainer.enable_progress_bar=false"]
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose("train", overrides=[*settings, f"paths.run={tmp_path}"])
    seen = []

    class Watch(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            path = tmp_path / "checkpoints" / "last.ckpt"
            seen.append(torch.load(path, weights_only=True)["epoch"] if path.is_file() else None)

    from twotower import training

    whole = training.Progress
    config.trainer.enable_progress_bar = True
    try:
        training.Progress = lambda context: Watch()
        training.train(plain(config), run_dir=tmp_path, overrides=[], choices={})
    finally:
        training.Progress = whole
    record = json.loads((tmp_path / "run.json").read_text())
    assert seen == [None, 0, 1, 2, 3, 4, 5, 6]
    assert [entry["epoch"] for entry in record["history"] if entry["metrics"]] == [3, 6, 8]
    assert record["best_epoch"] in (3, 6, 8)
