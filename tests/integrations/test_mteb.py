"""A run measured by the real mteb package on a task made from local files; its figures are held against ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from twotower.cli.evaluate import command
from twotower.core.errors import UserError
from twotower.runs.run import read_run

mteb = pytest.importorskip("mteb", reason="mteb isn't installed")

OLD = Path(__file__).resolve().parents[1] / "old_run"
RECORD = json.loads((OLD / "mlp" / "run.json").read_text())


def run(*arguments: str) -> str:
    done = CliRunner().invoke(command, ["--run", str(OLD / "mlp"), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_mteb_finds_what_our_own_evaluation_found():
    figures = json.loads(run("--mteb", str(OLD / "collection"), "--json"))["scores"]["dev"]
    ours = RECORD["evaluation"]["full"]["metrics"]
    assert figures["ndcg_at_10"] == pytest.approx(ours["ndcg_10"]["value"], abs=6e-6)  # it rounds to five digits
    assert figures["mrr_at_10"] == pytest.approx(ours["mrr_10"]["value"], abs=6e-6)
    assert figures["recall_at_10"] == pytest.approx(ours["recall_10"]["value"], abs=6e-6)


def test_the_figures_are_printed_for_people():
    text = run("--mteb", str(OLD / "collection"), "--split", "dev")
    assert "ndcg_at_10" in text
    assert "recall_at_100" in text


@pytest.mark.parametrize("form", [str, Path, read_run])
def test_a_run_is_named_in_any_form(form):
    from twotower.integrations.mteb import get_model

    assert get_model(form(OLD / "mlp")).mteb_model_meta.embed_dim > 1


def test_a_model_is_one_that_mteb_takes():
    from mteb.models.models_protocols import EncoderProtocol

    from twotower.integrations.mteb import get_model, local_task

    model = get_model(OLD / "gru")
    assert isinstance(model, EncoderProtocol)
    found = mteb.evaluate(model, local_task(OLD / "collection"), cache=None, show_progress_bar=False)
    assert found.model_name == model.mteb_model_meta.name
    assert 0 < found.task_results[0].get_score() < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mteb", "SciFactt"], "neither a folder nor a task that MTEB knows. Did you mean 'SciFact'"),
        (["--mteb", "Banking77Classification"], "type Classification"),
        (["--mteb", str(OLD / "collection"), "--split", "tset"], "no split 'tset'"),
        (["--mteb", "SciFact", "--split", "tset"], "--split tset"),
        (["--mteb", "SciFact", "--data", str(OLD / "collection")], "leave --data"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError) as caught:
        run(*arguments)
    assert message in str(caught.value)
