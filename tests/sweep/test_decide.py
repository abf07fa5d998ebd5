import json
import os
import zipfile

import pytest

from twotower.core import host
from twotower.sweep.decide import Action, decide, resumable

CONFIG = {"model": {"hidden_dim": 8}, "seed": 0, "sweep": {"name": "a"}}


def folder(tmp_path, status, *, checkpoint=False, process=None, **more):
    record = {
        "schema": 1,
        "status": status,
        "config": CONFIG,
        "config_hash": "h",
        "choices": {},
        "history": [],
        "timings": {},
        "host": host.host_facts() | (process or {}),
        **more,
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    if checkpoint:
        (tmp_path / "checkpoints").mkdir()
        with zipfile.ZipFile(tmp_path / "checkpoints" / "last.ckpt", "w") as file:
            file.writestr("a", "b")
    return tmp_path


DEAD = {"pid": 2**22 + 1, "process_started": 1}


def test_an_empty_folder_is_run(tmp_path):
    assert decide(tmp_path, CONFIG, "h").action is Action.RUN


@pytest.mark.parametrize("status", ["finished", "at_chance", "collapsed"])
def test_what_came_to_its_end_is_skipped_with_its_objective(tmp_path, status):
    found = decide(folder(tmp_path, status, objective={"name": "full/mrr_10", "value": 0.25}), CONFIG, "h")
    assert (found.action, found.value) == (Action.SKIP, 0.25)


def test_what_was_stopped_is_resumed_if_it_can_be(tmp_path):
    found = decide(folder(tmp_path, "interrupted", checkpoint=True), CONFIG, "h")
    assert (found.action, found.checkpoint) == (Action.RESUME, tmp_path / "checkpoints" / "last.ckpt")
    (tmp_path / "checkpoints" / "last.ckpt").unlink()
    assert decide(tmp_path, CONFIG, "h").action is Action.RUN


def test_a_running_record_counts_by_its_process_not_by_the_clock(tmp_path):
    old, future = "1999-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"
    for updated in (old, future):
        alive = folder(tmp_path, "running", updated=updated)
        assert decide(alive, CONFIG, "h").action is Action.ELSEWHERE
        dead = folder(tmp_path, "running", updated=updated, process=DEAD)
        assert decide(dead, CONFIG, "h").action is Action.RUN
        reboot = folder(tmp_path, "running", updated=updated, process={"boot_id": "another", "pid": os.getpid()})
        assert decide(reboot, CONFIG, "h").action is Action.RUN


def test_another_machine_is_believed_until_it_is_long_silent(tmp_path):
    elsewhere = {"name": "another-machine"}
    fresh = folder(tmp_path, "running", updated="2999-01-01T00:00:00+00:00", process=elsewhere)
    assert decide(fresh, CONFIG, "h").action is Action.ELSEWHERE
    silent = folder(tmp_path, "running", updated="2001-01-01T00:00:00+00:00", process=elsewhere)
    assert decide(silent, CONFIG, "h").action is Action.RUN


def test_a_failure_is_retried_on_request_only(tmp_path):
    error = {"type": "RuntimeError", "message": "out of\nmemory"}
    failed = folder(tmp_path, "failed", checkpoint=True, error=error)
    found = decide(failed, CONFIG, "h")
    assert (found.action, found.reason) == (Action.FAILED_BEFORE, "RuntimeError: out of memory")
    assert decide(failed, CONFIG, "h", retry_failed=True).action is Action.RESUME


def test_another_config_is_refused_with_its_differences(tmp_path):
    found = decide(folder(tmp_path, "finished"), {**CONFIG, "model": {"hidden_dim": 16}, "sweep": {}}, "other")
    assert found.action is Action.REFUSE
    assert "model.hidden_dim: 8 there, 16 here" in found.reason
    assert "sweep.name: " not in found.reason


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 0}', '{"schema": 1, "status": "odd"}'])
def test_an_unreadable_record_is_not_overwritten_unasked(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    assert decide(tmp_path, CONFIG, "h").action is Action.REFUSE
    found = decide(tmp_path, CONFIG, "h", retry_failed=True)
    assert (found.action, found.unreadable) == (Action.RUN, True)


def test_a_checkpoint_cut_short_gives_way_to_the_best_one(tmp_path):
    run = folder(tmp_path, "interrupted", checkpoint=True)
    last, best = run / "checkpoints" / "last.ckpt", run / "checkpoints" / "best.ckpt"
    best.write_bytes(last.read_bytes())
    last.write_bytes(last.read_bytes()[:-10])
    assert resumable(run) == best
    best.unlink()
    assert resumable(run) is None
