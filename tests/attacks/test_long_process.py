"""Thirty mixed runs with three indexes in one process: memory and open files stay where they were."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from twotower.config.instantiate import plain
from twotower.search.engine import SearchEngine
from twotower.training.train import train

ROOT = Path(__file__).resolve().parents[2]
CONF = next(path for path in (ROOT / "twotower" / "conf", ROOT / "conf") if (path / "train.yaml").is_file())
MINI = ROOT.parent / "shared" / "cases" / "mini_tldr"
INDEXES = ("exact", "faiss_flat", "faiss_hnsw")
RUNS, WARM = 30, 6


def memory() -> float:
    """Returns the resident memory of this process in megabytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
@pytest.mark.skipif(not MINI.is_dir(), reason="the collection mini_tldr is not beside this checkout")
def test_thirty_runs_in_one_process_take_no_more_memory_nor_files(tmp_path, capsys):
    megabytes, files = [], []
    for number in range(RUNS):
        folder = tmp_path / str(number)
        folder.mkdir()
        own = [f"model={('mlp', 'gru')[number % 2]}", f"data.path={MINI}", f"paths.run={folder}", f"seed={number}"]
        short = ["data=beir", "trainer.enable_progress_bar=false", "trainer.max_epochs=1", "trainer.threads=1"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = plain(compose("train", overrides=[*short, f"index=[{','.join(INDEXES)}]", *own]))
        train(config, run_dir=folder, overrides=[], choices={})
        for index in INDEXES:
            engine = SearchEngine.open(folder, index)
            engine.search("list the files of a folder", 5)
            engine.close()
        del engine, config
        shutil.rmtree(folder)
        gc.collect()
        megabytes.append(memory())
        files.append(len(os.listdir("/proc/self/fd")))
    with capsys.disabled():
        print("\nMB after each run:", *(f"{value:.0f}" for value in megabytes))
        print("open files after each run:", *files)
    assert max(files[1:]) <= files[0] + 2, files
    early, late = max(megabytes[WARM - 2 : WARM + 4]), min(megabytes[-4:])
    assert late < early + 30, megabytes
