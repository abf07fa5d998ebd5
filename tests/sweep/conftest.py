"""Sweeps as users start them: as processes, in a folder of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.started import started

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "train.py"
STUB = Path(__file__).with_name("stub_train.py")


def listen_to_interrupts():
    """Undoes what a shell does to what it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Place:
    """A working folder in which sweeps are started; `stub` pretends to train, `real` trains."""

    train = TRAIN

    def __init__(self, folder, data):
        self.folder, self.data = folder, data
        self.trace = folder / "trace"

    def environment(self, **more):
        added = {"PYTHONPATH": str(ROOT), "STUB_TRACE": str(self.trace), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        return {**os.environ, **added, **more}

    def start(self, *arguments, script=STUB, **environment):
        return subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=listen_to_interrupts,
        )

    def stub(self, *arguments, code=0, **environment):
        process = self.start("data.path=x", *arguments, **environment)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        return out + err

    def real(self, *arguments, code=0, **environment):
        arguments = (str(TRAIN), *self.tiny(), *arguments)
        done = started(*arguments, cwd=self.folder, environment=self.environment(**environment), timeout=600)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def tiny(self):
        settings = ["embedding=random", "embedding.dim=16", "model.hidden_dim=16", "model.output_dim=16"]
        settings += ["data.batch_size=64", "optimizer.lr=0.02", "trainer.enable_progress_bar=false"]
        return ["data=beir", f"data.path={self.data}", *settings]

    def records(self):
        """Every record under multirun/, by `<overrides>/seed=<n>`."""
        found = sorted(self.folder.glob("multirun/*/*/*/run.json"))
        return {f"{path.parents[1].name}/{path.parent.name}": json.loads(path.read_text()) for path in found}

    def epochs(self):
        """(job, epoch) of every epoch the stub trained, in order."""
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]


@pytest.fixture
def wait_for():
    """Waits until something is so, or fails."""

    def wait(condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never came to that"
            time.sleep(0.02)

    return wait


@pytest.fixture
def place(tmp_path, tiny_beir):
    return Place(tmp_path, tiny_beir)
