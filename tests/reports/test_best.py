import json
import re

import pytest

from twotower.core.errors import UserError
from twotower.reports.best import best
from twotower.runs.ledger import load


def test_the_highest_finished_run(sweep):
    found = best(load(sweep), "mrr_10")
    assert found.score.value == max(run.scores["full/mrr_10"].value for run in load(sweep))


def test_a_rival_that_cannot_be_told_apart_is_named(sweep):
    found = best(load(sweep, where=["loss=contrastive"]))
    assert any("not distinguishable from the next config" in line for line in found.warnings)


def test_a_clear_winner_needs_no_warning(fake, tmp_path):
    fake.make_run(tmp_path / "good", quality=0.9, model="mlp")
    fake.make_run(tmp_path / "poor", quality=0.4, model="gru")
    found = best(load(tmp_path))
    assert found.run.path.name == "good"
    assert found.warnings == []


def test_chance_is_named(fake, tmp_path):
    folder = fake.make_run(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    record["evaluation"]["full"]["metrics"]["mrr_10"].update(low=0.1, chance=0.12)
    (folder / "run.json").write_text(json.dumps(record))
    assert "not distinguishable from chance" in best(load(tmp_path)).warnings[0]


def test_a_lucky_seed_does_not_hide_the_better_config(fake, tmp_path):
    for seed, (steady, lucky) in enumerate([(0.7, 0.76), (0.7, 0.4), (0.7, 0.4)]):
        fake.make_run(tmp_path / f"steady{seed}", quality=steady, model="mlp", seed=seed)
        fake.make_run(tmp_path / f"lucky{seed}", quality=lucky, model="gru", seed=seed)
    found = best(load(tmp_path))
    assert found.run.path.name == "lucky0"
    assert any("over seeds another config is better" in line for line in found.warnings)


def test_without_per_query_scores_it_says_that_it_does_not_know(fake, tmp_path):
    fake.make_run(tmp_path / "a", files=False, quality=0.9)
    fake.make_run(tmp_path / "b", files=False, quality=0.4, model="gru")
    assert "is unknown" in best(load(tmp_path)).warnings[0]


def test_runs_on_different_data_have_no_best(fake, tmp_path):
    fake.make_run(tmp_path / "a", files=False)
    fake.make_run(tmp_path / "b", files=False, data="squad", fingerprint="0" * 64)
    with pytest.raises(UserError, match="different data") as caught:
        best(load(tmp_path))
    term = re.search(r"--where '([^']+)'", str(caught.value))[1]
    assert best(load(tmp_path, where=[term])).run.path.name in ("a", "b"), "the filter that is named works"
    fake.make_run(tmp_path / "c", files=False, fingerprint="1" * 64)  # of the same name as a
    with pytest.raises(UserError, match=r"fingerprint=|data_name=") as caught:
        best(load(tmp_path))
    best(load(tmp_path, where=[re.search(r"--where '([^']+)'", str(caught.value))[1]]))
    assert best(load(tmp_path, where=["data_name=squad"])).run.path.name == "b"


def test_nothing_finished(fake, tmp_path):
    fake.make_run(tmp_path / "a", files=False, status="failed")
    with pytest.raises(UserError, match="No finished run"):
        best(load(tmp_path))
