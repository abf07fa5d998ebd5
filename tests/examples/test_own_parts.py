"""examples/own_parts, a package of its own: trained, swept, run again, searched, without a line of ours changed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.started import TRAIN, started
from twotower.cli.main import cli
from twotower.config.trust import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "examples" / "own_parts"
CONF = "hydra.searchpath=[pkg://acme_search.conf]"
SMALL = [
    *("data=acme_faq", "data.path=faq.tsv", "text=acme_ngrams", "embedding.dim=32", "data.batch_size=32"),
    *("trainer.max_epochs=1", "trainer.enable_progress_bar=false", "trainer.threads=1"),
]
ALL = [
    *("model=acme_convolution", "model.output_dim=32", "loss=acme_sigmoid", "embedding=acme_spelling"),
    *("optimizer=acme_lion", "scheduler=acme_inverse_root", "callbacks=[default,acme_weight_norm]"),
    *("index=[acme_codes,exact]", "logger=[csv,acme_lines]", "evaluation=acme_all_found"),
    *("callbacks.early_stopping.monitor=weight_norm", "callbacks.early_stopping.mode=min", "+acme.note=mine"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("acme")
    draw = random.Random(0)
    with open(folder / "faq.tsv", "w", encoding="utf-8") as file:
        for number in range(240):
            thing, part = f"{draw.choice(['lamp', 'pump', 'valve', 'motor'])}{number % 40}", number // 40
            file.write(f"how do I mend {thing} part {part}\tSwitch the {thing} off, then see page {part} for {thing}\n")
    return folder


def run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{PACKAGE}", "COLUMNS": "200"}
    environment.pop(VARIABLE, None)
    return started(*command, cwd=home, environment=environment, timeout=400)


def train(home: Path, *overrides: str) -> Path:
    known = set(home.glob("outputs/*/*/run.json"))
    done = run(home, TRAIN, CONF, *SMALL, *overrides)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    [record] = set(home.glob("outputs/*/*/run.json")) - known
    return record.parent


@pytest.fixture(scope="module")
def trained(home):
    return train(home, *ALL)


@pytest.fixture
def ask(home, monkeypatch):
    """Runs one `twotower` command in this process, where the package can be imported."""
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(PACKAGE))
    monkeypatch.setenv(VARIABLE, "")

    def command(*arguments: str) -> str:
        result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False, standalone_mode=False)
        assert result.return_value in (None, 0), result.output
        return result.stdout

    yield command
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_search"]:
        sys.modules.pop(name)


def record_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_every_part_of_a_run_is_of_the_package(trained):
    record = record_of(trained)
    assert record["status"] in ("finished", "at_chance", "collapsed")
    assert record["config"]["model"]["query_tower"]["_target_"] == "acme_search.towers.ConvolutionTower"
    assert {path.parent.name for path in trained.glob("index/*/manifest.json")} == {"acme_codes", "exact"}
    assert json.loads((trained / "index" / "acme_codes" / "manifest.json").read_text())["kind"] == "codes"
    logged = [json.loads(line) for line in (trained / "figures.jsonl").read_text().splitlines()]
    assert any("weight_norm" in figures for figures in logged)
    assert "weight_norm" in (trained / "metrics" / "metrics.csv").read_text().splitlines()[0]
    measured = record["evaluation"]["full"]["metrics"]["all_found_10"]["value"]
    assert measured == pytest.approx(record["evaluation"]["full"]["metrics"]["recall_10"]["value"])  # one each
    [path] = (trained / "checkpoints").glob("two_tower_best_*.pt")
    assert "query_tower.filters.weight" in torch.load(path, weights_only=True)["model_state_dict"]


def test_its_words_are_those_of_its_tokenizer_and_its_vectors_those_of_its_source(trained):
    [path] = (trained / "checkpoints").glob("two_tower_best_*.pt")
    words = torch.load(path, weights_only=True)["word_to_index"]
    assert {"<lam", "lamp"} <= set(words)
    assert record_of(trained)["config"]["embedding"]["_target_"] == "acme_search.vectors.SpellingVectors"


@pytest.mark.parametrize(
    "command",
    [
        ["search", "mend lamp3", "--run", "RUN", "--index", "acme_codes"],
        ["evaluate", "--run", "RUN"],
        ["encode", "faq.txt", "--run", "RUN", "--out", "shards"],
        ["rerun", "RUN", "--check"],
        ["index", "--run", "RUN", "--index", "exact"],
    ],
    ids=lambda command: command[0],
)
def test_elsewhere_each_command_asks_for_trust_in_one_line(home, trained, command):
    command = [str(trained) if part == "RUN" else part for part in command]
    (home / "faq.txt").write_text("mend the lamp\n")
    done = run(home, "-m", "twotower", *command)
    assert done.returncode == 2
    assert "acme_search" in done.stderr
    assert done.stderr.rstrip().endswith("--trust acme_search")
    assert len(done.stderr.strip().splitlines()) == 1


def test_trusted_it_is_searched_evaluated_encoded_indexed_and_reported(home, trained, ask):
    trust = ["--trust", "acme_search"]
    for index in ("acme_codes", "exact"):
        found = ask(
            "search", "mend lamp3 part 2", "--run", str(trained), "--index", index, "--mode", "dense", "--json", *trust
        )
        assert len(json.loads(found)["hits"]) == 10
    evaluated = json.loads(ask("evaluate", "--run", str(trained), "--json", *trust))["evaluation"]["full"]["metrics"]
    recorded = record_of(trained)["evaluation"]["full"]["metrics"]
    for name in ("mrr_10", "all_found_10"):
        assert evaluated[name]["value"] == pytest.approx(recorded[name]["value"], abs=1e-6)
    (home / "faq.jsonl").write_text('{"_id": "1", "text": "mend the lamp"}\n')
    ask("encode", "faq.jsonl", "--run", str(trained), "--out", "vectors", "--dtype", "float32", *trust)
    assert np.load(home / "vectors" / "vectors-00000.npy").shape == (1, 32)
    for choices in ("pkg://acme_search.conf", str(PACKAGE / "acme_search" / "conf")):
        ask("index", "--run", str(trained), "--index", "acme_codes", "--config-dir", choices, *trust)
    ask("report", str(trained), "--out", "report.html")
    assert trained.name in (home / "report.html").read_text()


def test_it_is_run_again_and_varied(home, trained):
    twotower = ["-m", "twotower"]
    again = run(home, *twotower, "rerun", str(trained), "--trust", "acme_search")
    assert "IDENTICAL to" in again.stdout, again.stderr[-2000:]
    varied = [CONF, "loss=acme_sigmoid", "loss.scale=5", "scheduler=cosine", "--trust", "acme_search"]
    done = run(home, *twotower, "rerun", str(trained), *varied)
    assert done.returncode == 0, done.stderr[-2000:]
    newest = max(home.glob("outputs/*/*/run.json"), key=lambda path: path.stat().st_mtime)
    assert json.loads(newest.read_text())["config"]["loss"]["scale"] == 5


def test_a_sweep_over_own_and_our_parts_in_processes(home):
    swept = ["loss=acme_sigmoid,triplet", "model=acme_convolution", "model.output_dim=32", "index=none"]
    done = run(home, TRAIN, "-m", CONF, *SMALL, *swept, "hydra/launcher=processes", "sweep.name=acme")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    losses = {record_of(path.parent)["config"]["loss"]["_target_"] for path in home.glob("multirun/acme/*/*/run.json")}
    assert losses == {"acme_search.losses.SigmoidLoss", "twotower.loss.triplet.TripletLoss"}


def test_a_whole_lightning_module_is_trained_resumed_and_searched(home, ask):
    folder = train(home, "model=acme_mean", "index=exact", "run_name=mean")
    record = record_of(folder)
    assert record["history"][0]["train_loss"] > 0
    assert record["evaluation"]["full"]["metrics"]["mrr_10"]["value"] > 0
    longer = ["model=acme_mean", "index=exact", "run_name=mean", "trainer.max_epochs=2"]
    train_again = run(home, TRAIN, CONF, *SMALL, *longer, f"ckpt_path={folder / 'checkpoints' / 'last.ckpt'}")
    assert train_again.returncode == 0, train_again.stderr[-3000:]
    found = ask(
        "search", "mend lamp3 part 2", "--run", str(folder), "--mode", "dense", "--json", "--trust", "acme_search"
    )
    assert len(json.loads(found)["hits"]) == 10


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["loss=acme_sigmoid", "+loss.scal=2"], "loss.scal is no setting of acme_search.losses.SigmoidLoss"),
        (["loss=acme_sigmoid", "loss._target_=acme_search.losses.Sigmod"], "Did you mean 'SigmoidLoss'"),
        (["model=acme_convolution", "+model.query_tower.windows=3"], "windows is no setting of"),
        (["model=acme_mean", "model._target_=acme_search.losses.SigmoidLoss"], "no setting of"),
        (["text._target_=acme_search.losses.SigmoidLoss", "~text.size"], "needs split(text)"),
        (["callbacks=[default,acme_weight_norm]", "callbacks.weight_norm._target_=acme_search.losses.SigmoidLoss",
          "~callbacks.weight_norm.skip"], "not a callback"),
        (["index=acme_codes", "index.acme_codes._target_=acme_search.losses.SigmoidLoss"], "no setting of"),
        (["loss=acme_sigmoi"], "Did you mean 'acme_sigmoid'"),
    ],
)  # fmt: skip
def test_mistakes_are_named_before_any_training(home, overrides, told):
    done = run(home, TRAIN, CONF, *SMALL, *overrides)
    assert done.returncode == 2, done.stderr[-2000:]
    assert told in done.stderr
    assert "Traceback" not in done.stderr
