"""Whole sweeps with a pretended training: what is run, skipped, resumed, retried, shown and refused."""

import json
import signal

import pytest

FOUR = ("-m", "model=gru,mlp", "loss=contrastive,triplet", "trainer.max_epochs=3")
JOBS = [f"loss={loss},model={model}/seed=0" for loss in ("contrastive", "triplet") for model in ("gru", "mlp")]


def test_four_jobs_end_in_four_complete_folders_and_one_table(place):
    output = place.stub(*FOUR)
    records = place.records()
    assert sorted(records) == sorted(JOBS)
    assert {record["status"] for record in records.values()} == {"finished"}
    assert "best first" in output
    assert output.count("gru") >= 2
    assert "what a job prints" not in output
    (sweep,) = place.folder.glob("multirun/*")
    for job in JOBS:
        for name in (".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "train.log", "run.json"):
            assert (sweep / job / name).is_file(), name
        assert "what a job prints" in (sweep / job / "output.log").read_text()
        assert records[job]["sweep"] == {"name": sweep.name, "job": "seed=0"}
        assert not any(item.startswith(("sweep.session", "sweep.fixed")) for item in records[job]["overrides"])
    assert not (sweep / ".sweep").exists()


def test_started_again_nothing_is_trained_twice(place):
    place.stub(*FOUR)
    before, hydra_files = place.records(), sorted(place.folder.glob("multirun/*/*/*/.hydra/*"))
    times = [path.stat().st_mtime_ns for path in hydra_files]
    output = place.stub(*FOUR)
    assert output.count("skipped") == 4
    assert place.records() == before
    assert [path.stat().st_mtime_ns for path in hydra_files] == times
    assert len(place.epochs()) == 4 * 3


def test_seeds_have_folders_of_their_own_and_join_the_same_sweep(place):
    place.stub("-m", "model=gru,mlp", "trainer.max_epochs=1")
    output = place.stub("-m", "model=gru,mlp", "trainer.max_epochs=1", "sweep.seeds=3")
    assert sorted(place.records()) == [f"model={model}/seed={seed}" for model in ("gru", "mlp") for seed in range(3)]
    assert output.count("skipped") == 2
    assert "over seeds" in output
    assert {record["seed"] for record in place.records().values()} == {0, 1, 2}


def test_a_failure_is_named_and_the_rest_goes_on(place):
    output = place.stub(*FOUR, code=1, STUB_FAIL="loss=triplet")
    status = {job: record["status"] for job, record in place.records().items()}
    assert status == {job: "failed" if "triplet" in job else "finished" for job in JOBS}
    assert output.count("told to fail at epoch 1") >= 2
    assert "Traceback" not in output
    again = place.stub(*FOUR, code=1)
    assert again.count("failed before") >= 2
    assert "sweep.retry_failed=true" in again
    assert {record["status"] for record in place.records().values()} == {"finished", "failed"}
    place.stub(*FOUR, "sweep.retry_failed=true")
    assert {record["status"] for record in place.records().values()} == {"finished"}


def test_fail_fast_starts_no_further_job(place):
    output = place.stub(*FOUR, "sweep.fail_fast=true", code=1, STUB_FAIL="model=gru")
    status = {job: record["status"] for job, record in place.records().items()}
    assert status == {"loss=contrastive,model=gru/seed=0": "failed"}
    assert output.count("not started") >= 3


def test_a_dry_run_lists_the_jobs_and_writes_nothing(place):
    place.stub("-m", "model=gru", "trainer.max_epochs=1,2", "sweep.name=mine")
    before = sorted(place.folder.rglob("*"))
    output = place.stub("-m", "model=gru", "trainer.max_epochs=1,2,3,4", "sweep.name=mine", "sweep.dry_run=true")
    assert sorted(place.folder.rglob("*")) == before
    lines = [line for line in output.splitlines() if "trainer.max_epochs=" in line]
    assert [line.split()[2] for line in lines] == ["skip", "skip", "run", "run"]
    assert "2 to train: about" in output


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stopped_sweep_goes_on_where_it_was(place, wait_for, how):
    process = place.start("data.path=x", *FOUR, STUB_SECONDS="0.3")
    wait_for(lambda: len(list(place.folder.glob("multirun/*/*/*/checkpoints/last.ckpt"))) == 2)
    process.send_signal(how)
    output = "".join(process.communicate(timeout=60))
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGTERM)
    assert "The same command goes on from here: python train.py data.path=x -m model=gru,mlp" in output
    assert {record["status"] for record in place.records().values()} == {"finished", "interrupted"}
    place.stub(*FOUR)
    assert {record["status"] for record in place.records().values()} == {"finished"}
    assert len(place.epochs()) == 4 * 3, "an epoch was trained twice or never"


def test_two_sweeps_at_once_share_the_jobs(place):
    processes = [place.start("data.path=x", *FOUR, STUB_SECONDS="0.1") for _ in range(2)]
    outputs = ["".join(process.communicate(timeout=120)) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert {record["status"] for record in place.records().values()} == {"finished"}
    assert sorted(place.epochs()) == sorted((job, epoch) for job in JOBS for epoch in (1, 2, 3))


def test_a_folder_of_another_config_is_refused_with_the_difference(place):
    place.stub("-m", "model=gru", "loss=triplet", "sweep.name=mine", "optimizer.lr=0.5,0.25")
    sweep = place.folder / "multirun" / "mine"
    for path in sweep.glob("*/*/run.json"):
        record = json.loads(path.read_text())
        record["config"]["loss"]["margin"], record["config_hash"] = 0.7, "0" * 16
        path.write_text(json.dumps(record))
    output = place.stub("-m", "model=gru", "loss=triplet", "sweep.name=mine", "optimizer.lr=0.5,0.25", code=1)
    assert output.count("loss.margin: 0.7 there, 0.2 here") >= 2


def test_a_broken_record_is_named_and_replaced_on_request(place):
    place.stub("-m", "model=gru,mlp", "trainer.max_epochs=1")
    path = next(place.folder.glob("multirun/*/model=gru/seed=0/run.json"))
    path.write_text(path.read_text()[:100])
    output = place.stub("-m", "model=gru,mlp", "trainer.max_epochs=1", code=1)
    assert "cut short" in output
    place.stub("-m", "model=gru,mlp", "trainer.max_epochs=1", "sweep.retry_failed=true")
    assert {record["status"] for record in place.records().values()} == {"finished"}
    assert path.with_name("run.json.unreadable").is_file()


def test_mistakes_are_one_line(place):
    assert "No model=grue" in place.stub("-m", "model=grue,mlp", code=2)
    assert "add -m" in place.stub("sweep.seeds=2", code=2)
    assert "No config key 'model.hiden_dim'" in place.stub("-m", "model.hiden_dim=1,2", code=2)


def test_a_folder_that_cannot_be_written_stops_the_sweep_before_it_starts(place):
    (place.folder / "multirun").write_text("a file where a folder should be")
    output = place.stub(*FOUR, code=2)
    assert "Cannot write" in output
    assert "Traceback" not in output


def test_one_job_s_closed_folder_is_refused_and_the_others_train(place):
    place.stub(*FOUR[:2], "trainer.max_epochs=1")
    (sweep,) = place.folder.glob("multirun/*")
    closed = sweep / "model=mlp" / "seed=1"
    for name in ("train.log", ".job.lock"):  # what nobody can open for writing, the superuser included
        (closed / name).mkdir(parents=True)
    output = place.stub(*FOUR[:2], "trainer.max_epochs=1", "sweep.seeds=2", code=1)
    assert sorted(place.records()) == ["model=gru/seed=0", "model=gru/seed=1", "model=mlp/seed=0"]
    assert f"refused  model=mlp/seed=1: {closed.resolve() / '.job.lock'}: Is a directory" in output
    assert "Traceback" not in output


def test_a_dry_run_names_what_differs_and_what_failed_before(place):
    two = ("-m", "model=gru,mlp", "loss=triplet", "trainer.max_epochs=1")
    place.stub(*two, code=1, STUB_FAIL="model=mlp")
    lines = place.stub(*two, "sweep.dry_run=true").splitlines()
    jobs = [line.split()[1:4] for line in lines if line[:1].isdigit() and "jobs," not in line]
    assert jobs == [["model=gru", "skip", "finished"], ["model=mlp", "failed", "before"]]
    assert "2 jobs, 1 need nothing done, 1 failed before (sweep.retry_failed=true tries again), 0 to train" in lines[-1]


def test_jobs_from_two_checkpoints_are_two_jobs(place):
    place.stub("-m", "model=mlp", "seed=0,1", "trainer.max_epochs=1")
    starts = [str(path) for path in sorted(place.folder.glob("multirun/*/*/*/checkpoints/last.ckpt"))]
    output = place.stub("-m", f"ckpt_path='{starts[0]}','{starts[1]}'", "trainer.max_epochs=2")
    assert "2 of 2 done" in output
    records = [record for record in place.records().values() if record["config"]["ckpt_path"] in starts]
    assert len(records) == 2
    assert len({record["config_hash"] for record in records}) == 2
    again = place.stub("-m", f"ckpt_path='{starts[0]}','{starts[1]}'", "trainer.max_epochs=2")
    assert again.count("skipped") == 2


def test_several_values_that_change_no_result_are_refused_before_anything_is_written(place):
    for override in ("run_name=a,b", "tags=[a],[b]", "logger=csv,[csv,wandb]"):
        assert "changes nothing that a job computes" in place.stub("-m", override, code=2)
    assert not (place.folder / "multirun").exists()


def test_a_dry_run_shows_brackets_as_they_were_typed(place):
    output = place.stub("-m", "+data.extra=[faiss_flat],[exact]", "sweep.dry_run=true")
    assert "data.extra=[faiss_flat]" in output
    assert "data.extra=[exact]" in output
