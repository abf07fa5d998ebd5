"""Every launcher and sweeper, run for real."""

import importlib.util
import math

import pytest

FOUR = ("-m", "model=gru,mlp", "loss=contrastive,triplet", "trainer.max_epochs=2")


def workers(place):
    return {line.split()[2] for line in place.trace.read_text().splitlines()}


def all_finished(place, output, jobs=4):
    assert [record["status"] for record in place.records().values()] == ["finished"] * jobs
    assert "best first" in output
    assert len(place.epochs()) == jobs * 2


def test_joblib_runs_jobs_in_several_processes(place):
    output = place.stub(*FOUR, "hydra/launcher=processes", "hydra.launcher.n_jobs=2", STUB_SECONDS="0.5")
    all_finished(place, output)
    assert len(workers(place)) == 2
    assert place.stub(*FOUR, "hydra/launcher=processes", "hydra.launcher.n_jobs=2").count("skipped") == 4


@pytest.mark.slow
def test_joblib_goes_on_after_a_failure(place):
    output = place.stub(*FOUR, "hydra/launcher=processes", "hydra.launcher.n_jobs=2", code=1, STUB_FAIL="loss=triplet")
    assert output.count("told to fail at epoch 1") >= 2
    assert sorted(record["status"] for record in place.records().values()) == ["failed"] * 2 + ["finished"] * 2


def test_submitit_runs_jobs_as_processes_of_their_own(place):
    output = place.stub(*FOUR, "hydra/launcher=submitit", "hydra.sweeper.max_batch_size=2")
    all_finished(place, output)
    assert len(workers(place)) == 4


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="ray is not installed: make ray")
def test_ray_runs_jobs_on_a_local_cluster(place):
    output = place.stub(*FOUR, "hydra/launcher=ray_cluster", "+hydra.launcher.ray.init.num_cpus=2")
    all_finished(place, output)


@pytest.mark.parametrize("sweeper", ["optuna_tpe", pytest.param("optuna_random", marks=pytest.mark.slow)])
def test_optuna_finds_the_better_end_and_goes_on_where_it_was(place, sweeper):
    space = ["optimizer.lr=interval(0.1,1.0)", "model=gru,mlp", "trainer.max_epochs=2"]
    search = ("-m", f"hydra/sweeper={sweeper}", *space)
    place.stub(*search, "hydra.sweeper.n_trials=3", "hydra.sweeper.sampler.seed=1")
    first = dict(place.records())
    assert len(first) == 3
    output = place.stub(*search, "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler.seed=1")
    records = place.records()
    assert len(records) == 6, "the same seed chooses the same jobs again, and then new ones"
    assert output.count("skipped") == 3
    assert {job: records[job] for job in first} == first
    (results,) = place.folder.glob("multirun/*/optimization_results.yaml")
    best = max(record["objective"]["value"] for record in records.values())
    assert math.isclose(float(results.read_text().split("best_value:")[1]), best)


@pytest.mark.slow
def test_optuna_goes_on_after_failures(place):
    search = ("-m", "hydra/sweeper=optuna_random", "optimizer.lr=interval(0.1,1.0)", "model=gru,mlp")
    output = place.stub(*search, "hydra.sweeper.n_trials=8", code=1, STUB_FAIL="model=gru")
    statuses = sorted(record["status"] for record in place.records().values())
    assert set(statuses) == {"failed", "finished"}
    assert len(statuses) == 8
    assert "told to fail" in output


def test_optuna_shares_its_jobs_out_among_processes(place):
    search = ("-m", "hydra/sweeper=optuna_random", "optimizer.lr=interval(0.1,1.0)", "trainer.max_epochs=2")
    two = ("hydra/launcher=processes", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4")
    all_finished(place, place.stub(*search, *two, STUB_SECONDS="0.5"))
    assert len(workers(place)) == 2


def test_optuna_with_nothing_but_failures_ends_without_a_traceback(place):
    search = ("-m", "hydra/sweeper=optuna_random", "optimizer.lr=interval(0.1,1.0)", "hydra.sweeper.n_trials=2")
    output = place.stub(*search, code=1, STUB_FAIL="optimizer.lr")
    assert output.count("told to fail") >= 2
    assert "Traceback" not in output
