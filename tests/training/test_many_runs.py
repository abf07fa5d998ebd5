"""Runs one after the other in one process leave no files open; and a hang-up ends a run as other signals do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from twotower.config.instantiate import plain
from twotower.training.train import train

ROOT = Path(__file__).resolve().parents[2]
CONF = next(path for path in (ROOT / "twotower" / "conf", ROOT / "conf") if (path / "train.yaml").is_file())
SMALL = ["data=beir", "embedding=random", "embedding.dim=8", "model.hidden_dim=8", "model.output_dim=8"]
SHORT = ["trainer.enable_progress_bar=false", "trainer.threads=1", "index=exact"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_runs_in_one_process_leave_no_files_open(tiny_beir, tmp_path):
    counts = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        own = [f"model={('mlp', 'gru')[number % 2]}", f"data.path={tiny_beir}", f"paths.run={folder}"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = plain(compose("train", overrides=[*SMALL, *SHORT, "trainer.max_epochs=1", *own]))
        train(config, run_dir=folder, overrides=[], choices={})
        counts.append(len(os.listdir("/proc/self/fd")))
    assert max(counts[1:]) <= counts[0] + 1, counts


def test_a_hang_up_ends_the_record(tiny_beir, tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *SMALL, *SHORT, "trainer.max_epochs=5000", f"data.path={tiny_beir}"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # under nohup a run goes on, as it should
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("outputs/*/*/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == -signal.SIGHUP
    record = json.loads(next(tmp_path.glob("outputs/*/*/run.json")).read_text())
    assert record["status"] == "interrupted"
