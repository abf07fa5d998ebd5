"""Lightning's checkpoints are whole or absent."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from twotower.callbacks.checkpoint import AtomicCheckpoints


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
