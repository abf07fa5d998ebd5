"""What is measured before the first step is kept for runs that start from the same, and changes no record."""

from __future__ import annotations

import pytest

from tests.callbacks.test_health import run
from twotower.callbacks.evaluate import Evaluate

QUICK = ("pretrain=crops", "pretrain.epochs=2", "pretrain.batch_size=64", "trainer.max_epochs=1")


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """On how many queries each measuring was, of runs with a cache of their own."""
    monkeypatch.setenv("TWOTOWER_CACHE", str(tmp_path / "cache"))
    means, queries = Evaluate._means, []

    def counted(self, module, rows, sample=None):
        queries.append(len(rows))
        return means(self, module, rows, sample)

    monkeypatch.setattr(Evaluate, "_means", counted)
    return queries


def test_the_record_is_the_same_measured_or_taken_from_the_cache(tiny_beir, tmp_path, measured):
    records = [run(tiny_beir, tmp_path / name, *QUICK) for name in ("cold", "warm")]
    assert len(measured) == 3 + 1, "untrained, pre-trained and the epoch; then the epoch alone"
    cold, warm = records
    assert cold["untrained"] == warm["untrained"]
    assert cold["pretrain"]["metrics"] == warm["pretrain"]["metrics"]
    assert cold["evaluation"] == warm["evaluation"]
    assert cold["history"][0]["metrics"] == warm["history"][0]["metrics"]
    assert warm["timings"]["encode_documents_per_second"] > 0


@pytest.mark.parametrize(
    "changed",
    [
        "evaluation.k=20",
        "evaluation.exclude_self=true",
        "seed=1",
        "data.max_document_length=3",
        "data.max_query_length=1",
    ],
)
def test_a_run_that_differs_in_what_decides_them_measures_anew(tiny_beir, tmp_path, measured, changed):
    run(tiny_beir, tmp_path / "first", *QUICK)
    run(tiny_beir, tmp_path / "second", *QUICK, changed)
    assert len(measured) == 6


def test_a_run_that_differs_in_its_training_on_pairs_alone_does_not(tiny_beir, tmp_path, measured):
    run(tiny_beir, tmp_path / "first", *QUICK)
    run(tiny_beir, tmp_path / "second", *QUICK, "optimizer.lr=0.01", "loss.temperature=0.2")
    assert len(measured) == 4
