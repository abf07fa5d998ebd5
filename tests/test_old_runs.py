"""Run folders made at commit 5e2b373 still work: listed, shown, loaded, searched, evaluated, run again, resumed.

`old_run/recorded/` holds what that commit's own program said of them: vectors of the first 20 queries read by either
tower (`twotower encode --dtype float32`) and the hits of two queries in each index (`twotower search --json`).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from tests.started import started
from twotower.cli.main import cli
from twotower.config.instantiate import config_hash
from twotower.core.errors import UserError
from twotower.sweep.decide import Action, decide
from twotower.training.training_state import check_resume

OLD = Path(__file__).with_name("old_run")
RECORDED = OLD / "recorded"
RUNS = ("mlp", "gru")
INDEXES = ("exact", "faiss_flat")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which the runs stand where their records say: `data.path` in them is relative."""
    folder = tmp_path_factory.mktemp("old")
    shutil.copytree(OLD, folder / "tests" / "old_run")
    return folder


@pytest.fixture
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def spare(at_home, tmp_path):
    """A copy that a test may change, which still finds its data."""
    shutil.copytree(OLD / "mlp", tmp_path / "spare")
    return tmp_path / "spare"


def folder_of(name: str) -> str:
    return f"tests/old_run/{name}"


def record_of(folder: Path | str) -> dict:
    return json.loads((Path(folder) / "run.json").read_text())


def ask(*arguments: str) -> str:
    """Runs one `twotower` command in this process and returns what it printed."""
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False, standalone_mode=False)
    assert result.return_value in (None, 0), result.output
    return result.stdout


def test_they_are_listed(at_home):
    listed = {run["name"]: run for run in json.loads(ask("runs", "tests/old_run", "--json"))}
    assert set(listed) == {"old_mlp", "old_gru"}
    for name in RUNS:
        run, record = listed[f"old_{name}"], record_of(folder_of(name))
        assert run["status"] == "finished"
        assert run["choices"] == record["choices"]
        assert run["metrics"]["full/mrr_10"]["value"] == record["evaluation"]["full"]["metrics"]["mrr_10"]["value"]
        assert run["config"]["embedding.dim"] == 32


def test_they_are_found_by_filters_of_their_own_config_keys(at_home):
    for term in ("model=mlp", "embedding.learn_from=.025", "embedding.alpha=.025", "dropout>=.4"):
        names = [run["name"] for run in json.loads(ask("runs", "tests/old_run", "--json", "--where", term))]
        assert "old_mlp" in names, term


def test_they_are_compared_and_reported(at_home, tmp_path):
    compared = ask("compare", folder_of("mlp"), folder_of("gru"))
    assert folder_of("mlp") in compared
    assert folder_of("gru") in compared
    assert "100 queries" in compared
    ask("report", folder_of("mlp"), "--out", str(tmp_path / "report.html"))
    assert "old_mlp" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("side", ["query", "document"])
@pytest.mark.parametrize("name", RUNS)
def test_their_models_encode_as_they_did(at_home, tmp_path, name, side):
    lines = (OLD / "collection" / "queries.jsonl").read_text().splitlines(keepends=True)[:20]
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(lines))
    options = ["--run", folder_of(name), "--out", str(tmp_path / "shards"), "--side", side, "--dtype", "float32"]
    ask("encode", str(texts), *options)
    vectors_ND = np.load(tmp_path / "shards" / "vectors-00000.npy")
    np.testing.assert_allclose(vectors_ND, np.load(RECORDED / f"{name}-{side}.npy"), atol=2e-6)


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("name", RUNS)
def test_they_are_searched_with_the_same_hits(at_home, name, index):
    for query, expected in json.loads((RECORDED / "hits.json").read_text())[name][index].items():
        answer = json.loads(ask("search", query, "--run", folder_of(name), "--index", index, "--json"))
        scores = {hit["doc_id"]: hit["score"] for hit in answer["hits"]}
        assert scores == pytest.approx(dict(expected), abs=1e-5)


def test_a_new_index_is_built_for_them(spare):
    ask("index", "--run", str(spare), "--index", "faiss_hnsw")
    answer = json.loads(ask("search", "list files", "--run", str(spare), "--index", "faiss_hnsw", "--json"))
    assert len(answer["hits"]) == 10


@pytest.mark.parametrize("name", RUNS)
def test_they_are_evaluated_to_the_same_figures(at_home, name):
    entry = json.loads(ask("evaluate", "--run", folder_of(name), "--json"))["evaluation"]["full"]["metrics"]["mrr_10"]
    recorded = record_of(folder_of(name))["evaluation"]["full"]["metrics"]["mrr_10"]
    assert entry["value"] == pytest.approx(recorded["value"], abs=1e-6)
    assert entry["chance"] == pytest.approx(recorded["chance"], abs=1e-9)


@pytest.mark.parametrize("name", RUNS)
def test_they_are_run_again_with_the_same_config(home, name):
    """On the machine that made them the new run is IDENTICAL; another processor may round otherwise."""
    known = set(home.glob("outputs/*/*/run.json"))
    done = started("-m", "twotower", "rerun", folder_of(name), cwd=home)
    assert done.returncode in (0, 1), done.stderr[-3000:]
    assert "IDENTICAL to" in done.stdout
    [path] = set(home.glob("outputs/*/*/run.json")) - known
    new, old = record_of(path.parent), record_of(home / folder_of(name))
    assert new["status"] == "finished"
    assert new["config_hash"] == old["config_hash"]
    assert new["vocabulary"] == old["vocabulary"]
    assert new["data"]["fingerprint"] == old["data"]["fingerprint"]
    assert new["objective"]["value"] == pytest.approx(old["objective"]["value"], abs=0.02)


@pytest.mark.parametrize("name", RUNS)
def test_a_sweep_knows_them_by_their_hash(home, name):
    record = record_of(home / folder_of(name))
    config = record["config"]
    assert config_hash(config) == record["config_hash"]
    decision = decide(home / folder_of(name), config, config_hash(config))
    assert decision.action is Action.SKIP
    assert decision.value == record["objective"]["value"]


def test_a_sweep_goes_on_from_their_last_checkpoint(spare):
    record = record_of(spare)
    record["status"], record["ended"] = "interrupted", None
    (spare / "run.json").write_text(json.dumps(record))
    decision = decide(spare, record["config"], record["config_hash"])
    assert decision.action is Action.RESUME
    assert decision.checkpoint == spare / "checkpoints" / "last.ckpt"
    check_resume(decision.checkpoint, record["config"])


def test_a_checkpoint_with_no_epoch_left_makes_no_run_of_its_own(spare, tmp_path):
    config = record_of(spare)["config"]
    last = spare / "checkpoints" / "last.ckpt"
    check_resume(last, config, run_dir=spare)  # its own run may still have to be evaluated
    done = config["trainer"]["max_epochs"]
    with pytest.raises(
        UserError, match=rf"has been trained for {done} epochs, so trainer\.max_epochs={done} leaves none"
    ):
        check_resume(last, config, run_dir=tmp_path / "new")
    check_resume(last, {**config, "trainer": {**config["trainer"], "max_epochs": done + 1}}, run_dir=tmp_path / "new")


def test_their_config_file_is_what_their_record_says():
    for name in RUNS:
        written = yaml.safe_load((OLD / name / ".hydra" / "config.yaml").read_text())
        assert written["model"] == record_of(OLD / name)["config"]["model"]
