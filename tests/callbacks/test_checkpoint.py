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
from twotower.config.instantiate import plain
from twotower.training import train as training


def test_a_checkpoint_is_read_back(tmp_path):
    AtomicCheckpoints().save_checkpoint({"a": torch.arange(3)}, tmp_path / "x.ckpt")
    assert torch.equal(torch.load(tmp_path / "x.ckpt", weights_only=True)["a"], torch.arange(3))


def test_no_room_is_one_clear_line_and_keeps_the_checkpoint_before(tmp_path):
    AtomicCheckpoints().save_checkpoint({"a": torch.arange(3)}, tmp_path / "x.ckpt")
    script = (
        "import resource, signal, torch\n"
        "from twotower.callbacks.checkpoint import AtomicCheckpoints\n"
        "from twotower.core.errors import UserError\n"
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


@pytest.fixture
def watched(tiny_beir, tmp_path, monkeypatch):
    """Trains with a look at the checkpoints before every epoch, and returns what was seen and the record."""

    def train(look, *settings):
        conf = Path(__file__).resolve().parents[2] / "conf"
        tiny = ["data=beir", f"data.path={tiny_beir}", "embedding=random", "embedding.dim=16", "index=none"]
        tiny += ["model.hidden_dim=16", "model.output_dim=16", "data.batch_size=24", f"paths.run={tmp_path}"]
        with initialize_config_dir(str(conf), version_base="1.3"):
            config = compose("train", overrides=[*tiny, *settings])
        seen = []

        class Watch(pl.Callback):
            def on_train_epoch_start(self, trainer, pl_module):
                seen.append(look(tmp_path / "checkpoints"))

        monkeypatch.setattr(training, "Progress", lambda context: Watch())
        training.train(plain(config), run_dir=tmp_path, overrides=[], choices={})
        return seen, json.loads((tmp_path / "run.json").read_text())

    return train


@pytest.mark.parametrize("scheduler", ["cosine", "reduce_on_plateau"])
def test_every_epoch_is_the_last_whether_it_was_evaluated_or_not(watched, scheduler):
    def look(folder):
        path = folder / "last.ckpt"
        return torch.load(path, weights_only=True)["epoch"] if path.is_file() else None

    settings = [f"scheduler={scheduler}", "callbacks.evaluate.every_n_epochs=3", "trainer.max_epochs=8"]
    seen, record = watched(look, *settings)
    assert seen == [None, 0, 1, 2, 3, 4, 5, 6]
    assert [entry["epoch"] for entry in record["history"] if entry["metrics"]] == [3, 6, 8]
    assert record["best_epoch"] in (3, 6, 8)


def test_a_new_best_is_written_once_under_both_names(watched):
    def look(folder):
        if not (folder / "best.ckpt").exists():
            return None
        content = {name: torch.load(folder / f"{name}.ckpt", weights_only=True) for name in ("best", "last")}
        same_file = (folder / "best.ckpt").samefile(folder / "last.ckpt")
        return content["best"]["epoch"], content["last"]["epoch"], same_file

    # the rate is absurd from the second epoch on, so that a later epoch is not the best
    seen, record = watched(look, "optimizer.lr=50", "optimizer.layers=1", "scheduler=none", "trainer.max_epochs=6")
    assert seen[:2] == [None, (0, 0, True)]
    assert [last for _, last, _ in seen[1:]] == [0, 1, 2, 3, 4]
    assert all(same_file == (best == last) for best, last, same_file in seen[1:])
    assert {same_file for _, _, same_file in seen[1:]} == {True, False}
    assert record["timings"]["checkpoint_seconds"] > 0
