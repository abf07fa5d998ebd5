"""A run whose objective no longer rises ends after `patience` evaluations, in half precision as in single."""

from __future__ import annotations

import pytest

import twotower


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_run_without_progress_ends_early_in_half_precision_too(tiny_beir, tmp_path, monkeypatch, precision):
    monkeypatch.chdir(tmp_path)
    settings = ["data=beir", f"data.path={tiny_beir}", "index=none", "pretrain=none", "model.output_dim=16"]
    settings += [f"trainer.precision={precision}", "trainer.max_epochs=20", "optimizer.lr=1e-12"]
    run = twotower.train([*settings, "callbacks.early_stopping.patience=2"], show=False)
    assert run.record["precision"] == precision
    assert len(run.record["history"]) == 3  # the first is the best, then two without a better one
