"""What a shell completes, through click's own protocol."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def complete(folder, words):
    """What bash would be offered after these words."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "_TWOTOWER_COMPLETE": "bash_complete"}
    environment |= {"COMP_WORDS": "twotower " + words, "COMP_CWORD": str(len(words.split(" ")))}
    command = [sys.executable, "-m", "twotower"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A place with two runs."""
    place = tmp_path_factory.mktemp("complete")
    for name in ("mlp", "gru"):
        shutil.copytree(ROOT / "tests" / "old_run" / name, place / "outputs" / name)
    return place


def test_runs_are_completed_by_name_and_by_folder(folder):
    names = {json.loads((folder / "outputs" / name / "run.json").read_text())["run_name"] for name in ("mlp", "gru")}
    for command in ("search --run ", "index --run ", "evaluate --run ", "ui --run ", "rerun ", "diff "):
        assert names <= set(complete(folder, command)), command
    assert complete(folder, "search --run outputs/g") == ["outputs/gru"]


def test_commands_and_choices_are_completed(folder):
    assert complete(folder, "se") == ["search"]
    assert complete(folder, "search --mode h") == ["hybrid"]
