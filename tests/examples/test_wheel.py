"""The built wheel and examples/own_parts in an environment of their own, in an empty folder: no checkout in sight.

What the wheel depends on is borrowed from the environment of the tests; the twotower installed there stays unseen.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONF = "hydra.searchpath=[pkg://acme_search.conf]"
SMALL = [
    *("data=acme_faq", "data.path=faq.tsv", "text=acme_ngrams", "embedding=acme_spelling", "embedding.dim=32"),
    *("model=acme_convolution", "model.output_dim=32", "loss=acme_sigmoid", "optimizer=acme_lion"),
    *("scheduler=acme_inverse_root", "callbacks=[default,acme_weight_norm]", "index=[acme_codes,exact]"),
    *("logger=[csv,acme_lines]", "evaluation=acme_all_found", "data.batch_size=32"),
    *("trainer.max_epochs=1", "trainer.enable_progress_bar=false", "trainer.threads=1"),
]

pytestmark = pytest.mark.slow


def run(folder: Path, *command: str | Path) -> str:
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "TWOTOWER_TRUST")}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=kept, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Gives the `twotower` command of an environment that holds the two wheels, and an empty folder with data."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "outputs", "multirun", "tests", "build", "*.egg-info", "__pycache__")
    for source in (ROOT, ROOT / "examples" / "own_parts"):
        copy = folder / source.name  # building leaves files behind
        shutil.copytree(source, copy, ignore=ignored)
        options = ["--no-deps", "--no-build-isolation", "-q", "-w", folder / "wheels"]
        run(folder, sys.executable, "-m", "pip", "wheel", *options, copy)
    venv.create(folder / "env", with_pip=False)
    [packages] = (folder / "env" / "lib").glob("python*/site-packages")
    wheels = sorted((folder / "wheels").glob("*.whl"))
    assert len(wheels) == 2
    python = folder / "env" / "bin" / "python"
    run(folder, sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", *wheels)
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files are not followed
    home = folder / "home"
    home.mkdir()
    draw = random.Random(0)
    with open(home / "faq.tsv", "w", encoding="utf-8") as file:
        for number in range(240):
            thing, part = f"{draw.choice(['lamp', 'pump', 'valve', 'motor'])}{number % 40}", number // 40
            file.write(f"how do I mend {thing} part {part}\tSwitch the {thing} off, then see page {part} for {thing}\n")
    where = run(home, python, "-c", "import twotower, acme_search; print(twotower.__file__, acme_search.__file__)")
    assert where.count(str(packages)) == 2
    return folder / "env" / "bin" / "twotower", home


def test_own_parts_are_trained_swept_repeated_and_searched(installed):
    twotower, home = installed
    run(home, twotower, "train", CONF, *SMALL)
    [record] = home.glob("outputs/*/*/run.json")
    folder = record.parent
    assert json.loads(record.read_text())["config"]["loss"]["_target_"] == "acme_search.losses.SigmoidLoss"
    query = ["search", "mend lamp3 part 2", "--run", folder, "--index", "acme_codes", "--mode", "dense", "--json"]
    assert len(json.loads(run(home, twotower, *query, "--trust", "acme_search"))["hits"]) == 10
    assert "IDENTICAL" in run(home, twotower, "rerun", folder, "--trust", "acme_search")
    run(home, twotower, "rerun", folder, CONF, "loss=triplet", "--trust", "acme_search")
    run(home, twotower, "train", "-m", CONF, *SMALL, "loss=acme_sigmoid,contrastive", "sweep.name=two")
    losses = {
        json.loads(path.read_text())["config"]["loss"]["_target_"] for path in home.glob("multirun/two/*/*/run.json")
    }
    assert losses == {"acme_search.losses.SigmoidLoss", "twotower.loss.contrastive.ContrastiveLoss"}
