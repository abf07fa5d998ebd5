"""A sweep that is killed outright at random moments, and started again each time."""

import json
import os
import random
import signal
import time

import pytest

JOBS = ("-m", "model=gru,mlp", "loss=contrastive,triplet", "trainer.max_epochs=4")


def killed_and_started_again(place, arguments, kills, seconds, **environment):
    """Kills the sweep's whole process group so many times, then lets it come to its end."""
    moments = random.Random(kills)
    for _ in range(kills):
        process = place.start(*arguments, **environment)
        time.sleep(moments.uniform(*seconds))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for path in place.folder.glob("multirun/*/*/*/run.json"):
            json.loads(path.read_text())  # never half a record, whenever the kill came


def results(records):
    return {job: (record["status"], record["objective"]["value"]) for job, record in records.items()}


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_sweeps_come_to_the_same_results(place, tmp_path_factory, tiny_beir, kills):
    killed_and_started_again(place, ["data.path=x", *JOBS], kills, (0.5, 3.0), STUB_SECONDS="0.15")
    place.stub(*JOBS)
    undisturbed = type(place)(tmp_path_factory.mktemp("undisturbed"), tiny_beir)
    undisturbed.stub(*JOBS)
    assert results(place.records()) == results(undisturbed.records())
    for job, record in place.records().items():
        assert [item["epoch"] for item in record["history"]] == [1, 2, 3, 4], job
        assert record["history"] == undisturbed.records()[job]["history"]
    assert not list(place.folder.glob("multirun/*/*/*/.*.tmp")), "a temporary file was left behind"


@pytest.mark.slow
def test_a_finished_job_is_never_trained_again(place, wait_for):
    process = place.start("data.path=x", *JOBS, STUB_SECONDS="0.15")
    wait_for(lambda: [record["status"] for record in place.records().values()].count("finished") == 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = {job: record for job, record in place.records().items() if record["status"] == "finished"}
    trained = [job for job, _ in place.epochs() if job in done]
    place.stub(*JOBS)
    assert [job for job, _ in place.epochs() if job in done] == trained
    assert {job: place.records()[job] for job in done} == done


def test_a_checkpoint_cut_short_is_passed_over(place, wait_for):
    process = place.start("data.path=x", *JOBS, STUB_SECONDS="0.3")
    wait_for(lambda: len(place.epochs()) == 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (checkpoint,) = place.folder.glob("multirun/*/*/*/checkpoints/last.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:40])
    place.stub(*JOBS)
    assert {record["status"] for record in place.records().values()} == {"finished"}


@pytest.mark.slow
def test_real_training_killed_ten_times_comes_to_the_same_results(place, tmp_path_factory, tiny_beir):
    """Ten kills of a real sweep; weights, metrics and epochs as if nothing had happened."""
    jobs = ("-m", "model=gru,mlp", "loss=contrastive,triplet", "trainer.max_epochs=4", "index=none")
    script = {"script": place.train}

    class Real(type(place)):
        def start(self, *arguments, **environment):
            return super().start(*arguments, **{**script, **environment})

    real = Real(place.folder, place.data)
    killed_and_started_again(real, [*jobs, *real.tiny()], 10, (4.0, 14.0))
    real.real(*jobs)
    undisturbed = Real(tmp_path_factory.mktemp("undisturbed"), tiny_beir)
    undisturbed.real(*jobs)
    assert results(real.records()) == results(undisturbed.records())
    for job, record in real.records().items():
        other = undisturbed.records()[job]
        for item, expected in zip(record["history"], other["history"], strict=True):
            assert item["metrics"] == expected["metrics"], job
            assert item["train_loss"] == expected["train_loss"], job
        assert record["evaluation"] == other["evaluation"], job
