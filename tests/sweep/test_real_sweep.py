"""Sweeps that really train: nothing leaks from job to job, runs are pruned, memory stays level."""

import json
import subprocess
import sys

import pytest

SPACE = ("-m", "optimizer.lr=0.02,0.005", "trainer.max_epochs=2", "index=none")


def numbers(record):
    history = [{key: item[key] for key in ("train_loss", "train_accuracy", "metrics")} for item in record["history"]]
    return history, record["evaluation"], record["config_hash"]


def test_a_job_of_a_sweep_is_what_it_would_be_alone(place):
    output = place.real(*SPACE, "loss=triplet,contrastive")
    assert "best first" in output
    records = place.records()
    assert len(records) == 4
    place.real("optimizer.lr=0.005", "trainer.max_epochs=2", "index=none", "loss=contrastive")
    (alone,) = [json.loads(path.read_text()) for path in place.folder.glob("outputs/*/*/run.json")]
    assert numbers(records["loss=contrastive,optimizer.lr=0.005/seed=0"]) == numbers(alone)
    folder = next(place.folder.glob("multirun/*/loss=contrastive,optimizer.lr=0.005/seed=0"))
    for name in ("checkpoints/last.ckpt", "checkpoints/best.ckpt", "per_query.parquet", "train.log", "documents.db"):
        assert (folder / name).is_file(), name
    assert len(list(folder.glob("checkpoints/two_tower_best_*.pt"))) == 1


@pytest.mark.slow
def test_poor_runs_are_pruned_and_still_complete(place):
    rates = "optimizer.lr=0.03,0.02,0.01,1e-6,1e-7"
    output = place.real("-m", rates, "trainer.max_epochs=6", "callbacks=[default,prune]", "callbacks.prune.min_runs=3")
    records = place.records()
    for rate in ("1e-06", "1e-07"):
        record = records[f"optimizer.lr={rate}/seed=0"]
        assert len(record["history"]) == record["sweep"]["pruned"]["epoch"] == 2
        assert record["evaluation"]
    assert len(records["optimizer.lr=0.03/seed=0"]["history"]) == 6
    assert "pruned after epoch 2" in output


PROBE = """
import json, resource, runpy, sys
import twotower.cli.sweep_job as launched
original, peaks = launched.run_job, []
def run_job(job, journal):
    value = original(job, journal)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return value
launched.run_job = run_job
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    json.dump(peaks, open("peaks.json", "w"))
"""


@pytest.mark.slow
def test_peak_memory_after_sixteen_jobs_is_that_after_two(place):
    arguments = [*place.tiny(), "-m", "model=gru,mlp", "loss=contrastive,triplet", "seed=0,1,2,3"]
    command = [sys.executable, "-c", PROBE, str(place.train), *arguments, "trainer.max_epochs=2"]
    subprocess.run(command, cwd=place.folder, env=place.environment(), check=True, capture_output=True)
    peaks = json.loads((place.folder / "peaks.json").read_text())
    assert len(peaks) == 16
    assert peaks[15] <= 1.1 * peaks[1]
