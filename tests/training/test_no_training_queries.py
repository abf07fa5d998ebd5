"""A collection whose only queries are those it is evaluated with: its documents alone are learnt from."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.started import TRAIN, started


@pytest.fixture(scope="module")
def folder(tiny_beir, tmp_path_factory):
    path = tmp_path_factory.mktemp("test_only") / "data"
    shutil.copytree(tiny_beir, path)
    (path / "qrels" / "dev.tsv").rename(path / "qrels" / "test.tsv")
    (path / "qrels" / "train.tsv").unlink()
    return path


def start(folder, *overrides):
    command = [TRAIN, "data=beir", f"data.path={folder}", "embedding.dim=16",
               "trainer.enable_progress_bar=false", "index=exact", *overrides]  # fmt: skip
    return started(*command, cwd=folder.parent)


def test_the_message_for_a_missing_training_split_names_what_works(folder):
    done = start(folder)
    assert done.returncode == 2
    assert "no split 'train'; there are: test. data.train_split=null data.eval_split=test learns from" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_it_is_learnt_from_evaluated_indexed_and_searched(folder):
    done = start(folder, "data.train_split=null", "data.eval_split=test", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert "across ranks is zero" not in done.stderr
    assert "train queries" not in done.stdout
    record = json.loads((folder.parent / "run" / "run.json").read_text())
    assert record["status"] in ("finished", "at_chance")
    assert record["history"] == []
    assert record["pretrain"]["steps"] > 0
    assert record["data"]["report"]["train_split"] is None
    assert record["evaluation"]["full"]["hybrid"]["note"].startswith("the default weight: no training query")
    found = started("-m", "twotower", "search", "--run", "run", "only3n1", "--json", cwd=folder.parent)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["hits"][0]["doc_id"] == "d3-1"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pretrain=none"], "data.train_split=null and pretrain=none leave nothing to learn from"),
        (["data.negatives.kind=bm25", "data.negatives.count=1"], "data.train_split=null leaves no pair"),
    ],
)
def test_what_needs_pairs_is_refused(folder, overrides, message):
    done = start(folder, "data.train_split=null", "data.eval_split=test", *overrides)
    assert done.returncode == 2
    assert message in done.stderr
